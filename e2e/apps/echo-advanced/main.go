// Command echo-advanced stands in for the image registry.k8s.io/gateway-api/echo-advanced, which the
// mesh tests of the conformance suite run and of which no source is published. It takes the command
// lines that the suite uses, and prints what the suite's own parser reads; nothing more.
//
//	server --port=8080 --grpc=7070 --tcp=9090 --port=8443 --tls=8443 --crt=… --key=…
//	client URL --method=… -H name:value [--count=N]
//
// The two are one program under two names.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
)

func main() {
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "server":
		err = serve(os.Args[1:])
	case "client":
		err = request(os.Args[1:], os.Stdout)
	default:
		err = fmt.Errorf("it is called %q: call it server or client", name)
	}
	if err != nil {
		log.Fatal(err)
	}
}
