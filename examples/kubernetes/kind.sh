#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Lameduck Authors

# Rolls three replicas under load in a cluster of its own, for four ways of ending a
# process, and prints of each what fortio counts and how long the old pods took to go.
# It needs docker, kind and kubectl, about six minutes, and leaves nothing behind. With
# the argument keep it leaves the cluster, with the last of the four in it.
#
# fortio's own client sends a request again that a dead connection has lost, and does
# not count that; -stdclient with a payload does not. Its answers other than 200 are
# what was lost: Code -1 is no answer at all.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly cluster=lameduck
readonly context=kind-$cluster
readonly manifests=examples/kubernetes/manifests
readonly fortio=docker.io/fortio/fortio:1.63.0
readonly keep=${1:-}
readonly url='http://hello/work?bytes=27000'

for tool in docker kind kubectl; do
  command -v "$tool" >/dev/null || { echo "kind.sh: needs $tool" >&2; exit 1; }
done

kube() { kubectl --context "$context" "$@"; }

# deployment prints service.yaml for a way of ending.
deployment() {
  local naive=(kubectl set image --local -f - hello=lameduck-naive:1 -o yaml)
  local shutdown=(kubectl set env --local -f - STRATEGY=shutdown -o yaml)
  local sleep='{"spec":{"template":{"spec":{"containers":[{"name":"hello","lifecycle":{"preStop":{"sleep":{"seconds":20}}}}]}}}}'
  # The first document is the Deployment; the others are the same for all.
  local base
  base=$(sed '/^---$/,$d' "$manifests/service.yaml")
  case $1 in
    exit) "${naive[@]}" <<<"$base" ;;
    shutdown) "${naive[@]}" <<<"$base" | "${shutdown[@]}" ;;
    sleep) "${naive[@]}" <<<"$base" | "${shutdown[@]}" | kubectl patch --local -f - -p "$sleep" -o yaml ;;
    lameduck) cat <<<"$base" ;;
  esac
}

# roll deploys a way of ending, and replaces its pods under load.
roll() {
  kube delete deployment hello --ignore-not-found
  deployment "$1" | kube apply -f -
  kube rollout status deployment/hello --timeout=120s
  # Those of the one before may still be on their way out.
  local old
  until old=$(kube get pod -l app.kubernetes.io/name=hello -o name) && [ "$(wc -l <<<"$old")" -eq 3 ]; do
    sleep 1
  done

  kube delete pod load --ignore-not-found --wait
  kube run load --image "$fortio" --restart Never -- \
    load -stdclient -payload x -c 8 -qps 1000 -t 60s "$url"
  kube wait pod/load --for=condition=Ready --timeout=120s
  sleep 5
  local start=$SECONDS gone
  # shellcheck disable=SC2086 # one word for each pod
  kube wait $old --for=delete --timeout=180s &
  gone=$!
  kube rollout restart deployment/hello
  kube rollout status deployment/hello --timeout=120s
  wait "$gone"
  local took=$((SECONDS - start))
  kube wait pod/load --for=jsonpath='{.status.phase}'=Succeeded --timeout=120s
  {
    echo "== $1: old pods gone after ${took}s"
    kube logs load | grep '^Code\|^# target 99' || true
  } >&3
}

kind create cluster --name "$cluster" --wait 120s
[ "$keep" = keep ] || trap 'kind delete cluster --name "$cluster"' EXIT
docker build -f examples/kubernetes/Dockerfile -t lameduck-hello:1 .
docker build -f examples/kubernetes/Dockerfile --build-arg DIR=examples/kubernetes/naive -t lameduck-naive:1 .
kind load docker-image --name "$cluster" lameduck-hello:1 lameduck-naive:1

# The results go to standard output, all else to standard error.
exec 3>&1 >&2
sed '1,/^---$/d' "$manifests/service.yaml" | kube apply -f - # but the Deployment
for way in exit shutdown sleep lameduck; do
  roll "$way"
done
