// A certificate transparency log that promises and keeps nothing: it signs timestamps of certificates to be (RFC 6962, add-pre-chain). For tests, on loopback.
//
//	sigstore-ctlog ADDRESS KEY
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("sigstore-ctlog ADDRESS KEY")
	}
	key := key(os.Args[2])
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		log.Fatal(err)
	}
	id := sha256.Sum256(public)
	http.HandleFunc("/ct/v1/add-pre-chain", func(to http.ResponseWriter, request *http.Request) {
		var given ct.AddChainRequest
		if err := json.NewDecoder(request.Body).Decode(&given); err != nil {
			http.Error(to, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := promise(key, id, given.Chain)
		if err != nil {
			http.Error(to, err.Error(), http.StatusBadRequest)
			return
		}
		to.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(to).Encode(answer)
	})
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving on %s", listener.Addr())
	log.Fatal(http.Serve(listener, nil)) //nolint:gosec // for tests, on loopback
}

func promise(key *ecdsa.PrivateKey, id [32]byte, chain [][]byte) (*ct.AddChainResponse, error) {
	var certificates []*ctx509.Certificate
	for _, der := range chain {
		certificate, err := ctx509.ParseCertificate(der)
		if ctx509.IsFatal(err) {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	at := uint64(time.Now().UnixMilli()) //nolint:gosec // after 1970
	leaf, err := ct.MerkleTreeLeafFromChain(certificates, ct.PrecertLogEntryType, at)
	if err != nil {
		return nil, err
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: id}, Timestamp: at}
	signed, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	signature, err := tls.CreateSignature(crypto.PrivateKey(*key), tls.SHA256, signed)
	if err != nil {
		return nil, err
	}
	encoded, err := tls.Marshal(signature)
	if err != nil {
		return nil, err
	}
	return &ct.AddChainResponse{SCTVersion: ct.V1, ID: id[:], Timestamp: at, Signature: encoded}, nil
}

func key(path string) *ecdsa.PrivateKey {
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
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		log.Fatalf("%s is no EC key", path)
	}
	return key
}
