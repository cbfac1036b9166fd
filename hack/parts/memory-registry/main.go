// A registry in memory, with the referrers API or without it. For tests, on loopback.
//
//	memory-registry ADDRESS [no-referrers]
package main

import (
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("memory-registry ADDRESS [no-referrers]")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	referrers := len(os.Args) == 2 || os.Args[2] != "no-referrers"
	log.Printf("serving on %s", listener.Addr())
	handler := registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(os.Stderr, "", 0)))
	log.Fatal(http.Serve(listener, handler)) //nolint:gosec // for tests, on loopback
}
