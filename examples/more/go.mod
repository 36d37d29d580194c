module github.com/lameduck-go/lameduck/examples/more

go 1.26.0

replace github.com/lameduck-go/lameduck => ../..

require (
	github.com/coder/websocket v1.8.15
	github.com/lameduck-go/lameduck v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
