# SPDX-License-Identifier: Apache-2.0
# Copyright The Lameduck Authors

# make           lint and test
# make test      everything that decides whether a change is good; COUNT=3 does it three times
# make bench     what it costs, each figure beside its rival in the same run
# make evidence  costs and losses beside other libraries: writes examples/docs/benchmarks.md
# make cross     vet four systems on two architectures, and build the nested modules; minutes
# make peers     lint and test the services of make evidence; some take long to compile
# make fuzz      every Fuzz function, half a second each
# make long      200 terminations of examples/chi, and 100 of examples/more/grpc
# make soak      rolling updates for ten minutes: nothing is lost, nothing grows
# make slow      the tests on a fifth of a machine, and on one that stands still for 3 s at a time;
#                takes root
# make losses    200 terminations in each cell of the table of losses; an hour
# make dataplane replicas end behind nftables, HAProxy, nginx and Caddy; takes root
# make demo      the main job: a rolling update that loses nothing
# make api       write down what the packages export; see internal/api
# make fmt       format and modernize

# How often make test runs each test. Three times does not fit into the time of CI.
COUNT = 1

STATICCHECK = go tool -modfile=internal/tools/go.mod staticcheck

# Those of internal/bench/peers that compile fast. CI leaves out the others.
LIGHT = ./work ./lameduck ./nethttp ./ory ./oklogrun ./fx ./prestop

.PHONY: all lint cross test fuzz bench evidence peers long soak slow losses dataplane demo api fmt

all: lint test

lint:
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	@for d in $$(find . -name '*_test.go' -exec dirname {} \; | sort -u); do \
		grep -q goleak $$d/*_test.go || { echo "$$d: its tests are not looked through by goleak" >&2; exit 1; }; done
	for os in darwin windows freebsd linux; do GOOS=$$os go vet ./... && GOOS=$$os GOARCH=arm64 go build ./... || exit; done
	$(STATICCHECK) ./...
	go mod tidy -diff
	cd internal/tools && go mod tidy -diff
	go fix -diff ./...
	cd examples/more && go vet ./... && go tool -modfile=../../internal/tools/go.mod staticcheck ./... && go mod tidy -diff && go fix -diff ./...
	cd examples/kubernetes && go vet ./... && go tool -modfile=../../internal/tools/go.mod staticcheck ./... && go mod tidy -diff && go fix -diff ./...
	cd internal/bench && go vet ./... && go tool -modfile=../tools/go.mod staticcheck ./... && go mod tidy -diff && go fix -diff ./...
	cd internal/bench/peers && go vet $(LIGHT) && go tool -modfile=../../tools/go.mod staticcheck $(LIGHT) && go fix -diff $(LIGHT)

cross:
	for os in linux darwin windows freebsd; do for arch in amd64 arm64; do \
		echo "$$os, $$arch" && GOOS=$$os GOARCH=$$arch go vet ./... || exit; done; done
	for d in examples/more examples/kubernetes internal/bench; do for os in darwin windows freebsd; do \
		echo "$$d, $$os" && (cd $$d && GOOS=$$os go vet ./... && GOOS=$$os GOARCH=arm64 go build ./...) || exit; done; done

test:
	go test -race -shuffle=on -count=$(COUNT) ./...
	cd examples/more && go test -race -shuffle=on -count=$(COUNT) ./...
	cd examples/kubernetes && go test -race -shuffle=on -count=$(COUNT) ./...
	cd internal/bench && go test -race -shuffle=on -count=$(COUNT) ./...

fuzz:
	.ci/fuzz

bench:
	go test -run '^$$' -bench Coordinator -cpu 1,2 -count 3 ./lifecycle
	go test -run '^$$' -bench . -skip Coordinator ./lifecycle
	cd internal/bench && go test -run '^$$' -bench . -benchtime 200ms -count 3 .
	go test -run '^$$' -bench . -benchtime 1x -skip Bookkeeping ./drain
	go test -run '^$$' -bench Bookkeeping -count 5 ./drain
	cd examples/more && go test -run '^$$' -bench Call -count 5 ./grpc

evidence:
	cd internal/bench && go run ./evidence

peers:
	cd internal/bench/peers && go vet ./... && go tool -modfile=../../tools/go.mod staticcheck ./... && go mod tidy -diff && go fix -diff ./...
	cd internal/bench/peers && go test -race -shuffle=on -count=1 ./...
	cd internal/bench && LAMEDUCK_PEERS=all go test -race -shuffle=on -count=1 -run 'TestServicesEnd' ./evidence

losses:
	LAMEDUCK_TERMINATIONS=200 go test -count=1 -timeout 120m -run 'TestLosses' -v ./drain

long:
	LAMEDUCK_TERMINATIONS=200 go test -count=1 -timeout 60m -run 'TestChiRolls' -v ./examples/...
	cd examples/more && LAMEDUCK_TERMINATIONS=100 go test -count=1 -timeout 60m -run 'TestRoll' -v ./grpc

soak:
	go run ./internal/soak -for 10m

slow:
	for d in . examples/more examples/kubernetes internal/bench; do (cd $$d && \
		go run $(CURDIR)/internal/slow -p 3 -run 20ms -stop 80ms ./... && \
		go run $(CURDIR)/internal/slow -p 3 -run 4700ms -stop 3s ./...) || exit; done

dataplane:
	internal/dataplane/run

demo:
	go run ./examples/rollout

api:
	go run ./internal/api

fmt:
	go fix ./...
	gofmt -w .
