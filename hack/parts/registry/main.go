// The registry of the distribution project with what a test of passwords, tokens and TLS needs, without the stores of clouds. It knows no referrers API.
//
//	registry serve CONFIG                                as ever
//	registry htpasswd USER PASSWORD                      prints the line that lets the user in
//	registry tokens ADDRESS CERT KEY ISSUER SERVICE USER PASSWORD
//	                                                     gives the user tokens for whatever is asked, and nobody else any; signed by the key it serves with
package main

import (
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/crypto/bcrypt"
)

func main() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "htpasswd":
		hash, err := bcrypt.GenerateFromPassword([]byte(os.Args[3]), bcrypt.MinCost)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s:%s\n", os.Args[2], hash)
	case len(os.Args) == 9 && os.Args[1] == "tokens":
		tokens(os.Args[2:])
	default:
		if err := registry.RootCmd.Execute(); err != nil {
			os.Exit(1)
		}
	}
}

func tokens(args []string) {
	address, issuer, service, user, password := args[0], args[3], args[4], args[5], args[6]
	pair, err := tls.LoadX509KeyPair(args[1], args[2])
	if err != nil {
		log.Fatal(err)
	}
	key := jose.SigningKey{Algorithm: jose.ES256, Key: pair.PrivateKey.(crypto.Signer)}
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("x5c", []string{base64.StdEncoding.EncodeToString(pair.Certificate[0])})
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/token", func(to http.ResponseWriter, request *http.Request) {
		name, secret, _ := request.BasicAuth()
		if name != user || secret != password {
			http.Error(to, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
			return
		}
		now := time.Now()
		claims := token.ClaimSet{Issuer: issuer, Subject: user, Audience: []string{service}, IssuedAt: now.Unix(), NotBefore: now.Unix(), Expiration: now.Add(5 * time.Minute).Unix()}
		for _, scope := range request.URL.Query()["scope"] {
			// The name may have colons, as that of a host with a port.
			kind, rest, _ := strings.Cut(scope, ":")
			if at := strings.LastIndex(rest, ":"); at > 0 {
				claims.Access = append(claims.Access, &token.ResourceActions{Type: kind, Name: rest[:at], Actions: strings.Split(rest[at+1:], ",")})
			}
		}
		signed, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			http.Error(to, err.Error(), http.StatusInternalServerError)
			return
		}
		to.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(to).Encode(map[string]any{"token": signed, "expires_in": 300, "issued_at": now.UTC().Format(time.RFC3339)})
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving on %s", listener.Addr())
	server := http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}} //nolint:gosec // for tests, on loopback
	log.Fatal(server.ServeTLS(listener, "", ""))
}
