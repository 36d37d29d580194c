# SPDX-License-Identifier: Apache-2.0
# Copyright The Lameduck Authors

# make           lint and test
# make test      everything that decides whether a change is good
# make long      the long measurements: 200 terminations of examples/chi
# make demo      the main job: a rolling update that loses nothing
# make fmt       format and modernize

STATICCHECK = go tool -modfile=internal/tools/go.mod staticcheck

.PHONY: all lint test long demo fmt

all: lint test

lint:
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	$(STATICCHECK) ./...
	go mod tidy -diff
	cd internal/tools && go mod tidy -diff
	go fix -diff ./...

test:
	go test -race -shuffle=on -count=1 ./...

long:
	LAMEDUCK_TERMINATIONS=200 go test -count=1 -timeout 60m -run 'TestChiRolls' -v ./examples/...

demo:
	go run ./examples/rollout

fmt:
	go fix ./...
	gofmt -w .
