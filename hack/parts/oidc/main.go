// An identity provider that says what it is told: it serves what is needed to check its tokens, and makes tokens for whomever. For tests, on loopback.
//
//	sigstore-oidc serve ADDRESS KEY          serves the provider of people, and below /actions the one of workflows
//	sigstore-oidc token KEY ISSUER IDENTITY  prints a token; an identity https://github.com/OWNER/REPO/PATH@REF is of a workflow, any other of a person
package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	workflows = "/actions"
	github    = "https://github.com/"
)

type object map[string]any

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		serve(os.Args[2], key(os.Args[3]))
	case len(os.Args) == 5 && os.Args[1] == "token":
		fmt.Println(token(key(os.Args[2]), os.Args[3], os.Args[4]))
	default:
		log.Fatal("sigstore-oidc serve ADDRESS KEY | sigstore-oidc token KEY ISSUER IDENTITY")
	}
}

func key(path string) *rsa.PrivateKey {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		log.Fatalf("%s is no PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		log.Fatalf("%s is no RSA key", path)
	}
	return key
}

func serve(address string, key *rsa.PrivateKey) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	answer := func(what any) http.HandlerFunc {
		return func(to http.ResponseWriter, _ *http.Request) {
			to.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(to).Encode(what)
		}
	}
	for _, path := range []string{"", workflows} {
		issuer := "http://" + listener.Addr().String() + path
		http.Handle(path+"/.well-known/openid-configuration", answer(object{
			"issuer": issuer, "jwks_uri": issuer + "/keys", "authorization_endpoint": issuer + "/none", "token_endpoint": issuer + "/none",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
		}))
		http.Handle(path+"/keys", answer(object{"keys": []object{{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
			"n": encoded(key.N.Bytes()), "e": encoded(big.NewInt(int64(key.E)).Bytes()),
		}}}))
	}
	log.Printf("serving on %s", listener.Addr())
	log.Fatal(http.Serve(listener, nil)) //nolint:gosec // for tests, on loopback
}

func token(key *rsa.PrivateKey, issuer, identity string) string {
	now := time.Now()
	claims := object{"iss": issuer, "aud": "sigstore", "sub": identity, "iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	if path, is := strings.CutPrefix(identity, github); is {
		workflow, ref, _ := strings.Cut(path, "@")
		parts := strings.SplitN(workflow, "/", 3)
		if len(parts) < 3 || ref == "" {
			log.Fatalf("%s is no workflow: https://github.com/OWNER/REPO/PATH@REF", identity)
		}
		owner, repository, commit := parts[0], parts[0]+"/"+parts[1], strings.Repeat("c0ffee", 6)+"c0ff"
		claims["iss"] = issuer + workflows
		for name, value := range map[string]string{
			"sub": "repo:" + repository + ":ref:" + ref, "job_workflow_ref": path, "workflow_ref": path, "sha": commit, "job_workflow_sha": commit,
			"workflow_sha": commit, "event_name": "push", "repository": repository, "workflow": "release", "ref": ref, "runner_environment": "self-hosted",
			"repository_id": "1", "repository_owner": owner, "repository_owner_id": "1", "repository_visibility": "private", "run_id": "1", "run_attempt": "1",
		} {
			claims[name] = value
		}
	} else {
		claims["email"], claims["email_verified"] = identity, true
	}
	body, err := json.Marshal(claims)
	if err != nil {
		log.Fatal(err)
	}
	signed := encoded([]byte(`{"alg":"RS256","typ":"JWT","kid":"1"}`)) + "." + encoded(body)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		log.Fatal(err)
	}
	return signed + "." + encoded(signature)
}

func encoded(bytes []byte) string { return base64.RawURLEncoding.EncodeToString(bytes) }
