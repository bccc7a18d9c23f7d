// A service like any other in Go, with a workload that is known: what `profilez collect` is tried on.
//
// It prints where it listens and ends when its standard input does.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

var (
	kept  [][]byte
	state uint64
)

//go:noinline
func burn() {
	for i := 0; i < 20_000_000; i++ {
		state = state*1_664_525 + 1_013_904_223
	}
}

//go:noinline
func leak() {
	for i := 0; i < 64; i++ {
		kept = append(kept, make([]byte, 1<<20))
	}
}

//go:noinline
func contend(lock *sync.Mutex) {
	for {
		lock.Lock()
		time.Sleep(time.Millisecond)
		lock.Unlock()
	}
}

func main() {
	unix := flag.String("unix", "", "listen on this socket")
	certificates := flag.String("certificates", "", "use TLS, and put the certificates for it here")
	flag.String("token", "", "a secret that stands in the command line")
	flag.Parse()

	// So low that every block of the leak is sampled.
	runtime.MemProfileRate = 4096
	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	leak()
	// A heap profile shows what the last collection but one found.
	runtime.GC()
	runtime.GC()
	go func() {
		for {
			burn()
			time.Sleep(time.Millisecond)
		}
	}()
	lock := new(sync.Mutex)
	go contend(lock)
	go contend(lock)

	network, address := "tcp", "127.0.0.1:0"
	if *unix != "" {
		network, address = "unix", *unix
	}
	listener, err := net.Listen(network, address)
	check(err)
	fmt.Println(listener.Addr())
	if *certificates != "" {
		listener = tls.NewListener(listener, configure(*certificates))
	}
	go func() {
		// Clients without a certificate are expected.
		quiet := log.New(io.Discard, "", 0)
		check((&http.Server{ErrorLog: quiet}).Serve(listener))
	}()
	io.Copy(io.Discard, os.Stdin)
}

// configure makes an authority and two certificates of it, and asks clients for theirs.
func configure(directory string) *tls.Config {
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityKey := newKey()
	signed := write(directory, "authority", authority, authority, authorityKey, authorityKey)
	leaf := func(name string, serial int64, usage x509.ExtKeyUsage) {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
			DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		write(directory, name, template, signed, newKey(), authorityKey)
	}
	leaf("server", 2, x509.ExtKeyUsageServerAuth)
	leaf("client", 3, x509.ExtKeyUsageClientAuth)
	pool := x509.NewCertPool()
	pool.AddCert(signed)
	pair, err := tls.LoadX509KeyPair(
		filepath.Join(directory, "server.pem"), filepath.Join(directory, "server.pem"))
	check(err)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	return key
}

// write puts a certificate and its key into one file.
func write(
	directory, name string, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey,
) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	check(os.WriteFile(filepath.Join(directory, name+".pem"), text, 0o600))
	parsed, err := x509.ParseCertificate(der)
	check(err)
	return parsed
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
