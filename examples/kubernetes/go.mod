module github.com/lameduck-go/lameduck/examples/kubernetes

go 1.26.0

replace github.com/lameduck-go/lameduck => ../..

require (
	github.com/lameduck-go/lameduck v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	go.yaml.in/yaml/v3 v3.0.5
)
