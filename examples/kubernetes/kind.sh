#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Lameduck Authors

# Rolls three replicas under load, for six ways of ending a process, and prints of each
# what fortio counts and how long the old pods took to go. Three have no library: exit at
# once, http.Server.Shutdown, and that behind a preStop sleep of 20 s; three are the
# manifests beside this.
#
#   ./kind.sh            in a cluster of its own, made with kind
#   ./kind.sh here       in the cluster of kubectl's current context, which reads the
#                        registry that REGISTRY names: REGISTRY=registry.example.com
#
# It needs docker, kubectl and kind or the registry, and about ten minutes. All that it
# makes in the cluster is in the namespace lameduck, and goes at the end; with KEEP=1 it and the
# cluster stay, with the last of the six. Its images stay with docker and the registry.
# FORTIO is another image of fortio.
#
# fortio's own client sends a request again that a dead connection has lost, and does
# not count that; -stdclient with a payload does not. Its answers other than 200 are
# what was lost: Code -1 is no answer at all.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly cluster=lameduck
readonly namespace=lameduck
readonly manifests=examples/kubernetes/manifests
readonly fortio=${FORTIO:-docker.io/fortio/fortio:1.63.0}
readonly keep=${KEEP:-}

fail() { echo "kind.sh: $*" >&2; exit 1; }

case $# in
  0) readonly here='' prefix='' tools='docker kubectl kind' ;;
  *) readonly here=$1 prefix=${REGISTRY:-}/ tools='docker kubectl' ;;
esac
case $here/$prefix in
  / | here/?*/) ;;
  here/*) fail "REGISTRY is to name the registry that the cluster reads" ;;
  *) fail "usage: [KEEP=1] ./kind.sh, or [KEEP=1] REGISTRY=registry.example.com ./kind.sh here" ;;
esac
for tool in $tools; do
  command -v "$tool" >/dev/null || fail "needs $tool"
done
hello=${prefix}lameduck-hello:1 naive=${prefix}lameduck-naive:1

# The context is named, lest somebody change the current one meanwhile.
context=kind-$cluster
[ -z "$here" ] || context=$(kubectl config current-context)
readonly context
kube() { kubectl --context "$context" --namespace "$namespace" "$@"; }

# cleanup takes away what was made.
cleanup() {
  [ -z "$keep" ] || return 0
  if [ -n "$here" ]; then
    kubectl --context "$context" delete namespace "$namespace" --timeout=120s
  else
    kind delete cluster --name "$cluster"
  fi
}

# pushed pushes an image and sets a variable to its digest: a node may have another one
# by the same tag.
pushed() {
  docker push "${!1}"
  local digest
  digest=$(docker inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "${!1}" | grep -m 1 "^${!1%:*}@")
  printf -v "$1" %s "$digest"
}

# deployment prints the Deployment for a way of ending.
deployment() {
  local file=service.yaml
  [ ! -e "$manifests/$1.yaml" ] || file=$1.yaml
  local naively=(kubectl set image --local -f - "hello=$naive" -o yaml)
  local shutdown=(kubectl set env --local -f - STRATEGY=shutdown -o yaml)
  local sleep='{"spec":{"template":{"spec":{"containers":[{"name":"hello","lifecycle":{"preStop":{"sleep":{"seconds":20}}}}]}}}}'
  # The first document is the Deployment; the others are the same for all.
  local base
  base=$(sed "/^---\$/,\$d; s,lameduck-hello:1,$hello," "$manifests/$file")
  case $1 in
    exit) "${naively[@]}" <<<"$base" ;;
    shutdown) "${naively[@]}" <<<"$base" | "${shutdown[@]}" ;;
    sleep) "${naively[@]}" <<<"$base" | "${shutdown[@]}" | kubectl patch --local -f - -p "$sleep" -o yaml ;;
    *) cat <<<"$base" ;;
  esac
}

# roll deploys a way of ending, and replaces its pods under load.
roll() {
  # In the foreground the pods of the one before are gone when it is.
  kube delete deployment hello --ignore-not-found --cascade=foreground --timeout=120s
  kube delete pod load --ignore-not-found --timeout=120s
  deployment "$1" | kube apply -f -
  kube rollout status deployment/hello --timeout=180s
  local old address
  old=$(kube get pod -l app.kubernetes.io/name=hello -o name)
  address=$(kube get service hello -o 'jsonpath={.spec.clusterIP}')
  [[ $address != *:* ]] || address="[$address]"

  kube run load --image "$fortio" --restart Never -- \
    load -stdclient -payload x -c 8 -qps 1000 -t 60s "http://$address/work?bytes=27000"
  kube wait pod/load --for=condition=Ready --timeout=120s
  sleep 5
  local start=$SECONDS gone
  # shellcheck disable=SC2086 # one word for each pod
  kube wait $old --for=delete --timeout=180s &
  gone=$!
  kube rollout restart deployment/hello
  kube rollout status deployment/hello --timeout=180s
  wait "$gone"
  local took=$((SECONDS - start))
  kube wait pod/load --for=jsonpath='{.status.phase}'=Succeeded --timeout=120s
  {
    echo "== $1: old pods gone after ${took}s"
    kube logs load | grep '^Code' || true
  } >&3
}

# The results go to standard output, all else to standard error.
exec 3>&1 >&2
# What is there already is somebody's: then this fails, and cleanup is not called.
if [ -z "$here" ]; then
  kind create cluster --name "$cluster" --wait 120s
  trap cleanup EXIT
fi
docker build -f examples/kubernetes/Dockerfile -t "$hello" .
docker build -f examples/kubernetes/Dockerfile --build-arg DIR=examples/kubernetes/naive -t "$naive" .
if [ -n "$here" ]; then
  pushed hello
  pushed naive
else
  kind load docker-image --name "$cluster" "$hello" "$naive"
fi
kube create namespace "$namespace"
trap cleanup EXIT
sed '1,/^---$/d' "$manifests/service.yaml" | kube apply -f - # but the Deployment
for way in exit shutdown sleep service prestop sidecar; do
  roll "$way"
done
