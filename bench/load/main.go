// Command load asks a certificate authority for certificates with a fixed number of callers, each of which waits for its answer before
// it asks again (a closed loop), over TLS connections that stay open.
//
// Keys, requests and one-time tokens are made beforehand, and every caller's connection is opened by one request that does not count.
// Then it writes "ready", waits for a line on standard input, runs, and writes one line of JSON.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An authority makes the requests of one server's interface and finds the certificate in its answers.
type authority interface {
	request(sample *sample) (*http.Request, error)
	certificate(body []byte) (string, error)
}

type result struct {
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"firstError,omitempty"`
	Seconds    float64 `json:"seconds"`
	P50Ms      float64 `json:"p50Ms"`
	P99Ms      float64 `json:"p99Ms"`
}

func main() {
	log.SetFlags(0)
	server := flag.String("server", "chancery", "whose interface: chancery or step")
	url := flag.String("url", "", "base URL")
	roots := flag.String("ca", "", "PEM file of the root to trust")
	token := flag.String("token", "", "chancery: file with the bearer token")
	profile := flag.String("profile", "server", "chancery: profile")
	key := flag.String("key", "", "step: PEM file with the provisioner's P-256 key")
	provisioner := flag.String("provisioner", "", "step: name of the JWK provisioner")
	callers := flag.Int("callers", 1, "how many ask at once")
	requests := flag.Int("requests", 1000, "how many certificates in all")
	flag.Parse()

	var asked authority
	var err error
	if *server == "step" {
		asked, err = newStep(*url, *provisioner, *key)
	} else {
		asked, err = newChancery(*url, *profile, *token)
	}
	check(err)
	client, err := newClient(*roots, *callers)
	check(err)

	samples, err := newSamples(*requests + *callers)
	check(err)
	prepared := make([]*http.Request, len(samples))
	for index, one := range samples {
		prepared[index], err = asked.request(one)
		check(err)
	}
	// One request a caller opens its connection.
	opening := run(client, prepared[*requests:], *callers, nil)
	if opening.Errors > 0 {
		log.Fatal(opening.FirstError)
	}
	fmt.Println("ready")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	check(err)

	last := make([]answer, *callers)
	measured := run(client, prepared[:*requests], *callers, last)
	for _, one := range last {
		if one.body != nil {
			check(verify(asked, one, samples))
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(measured))
}

// An answer is a body and the index of the request it answers.
type answer struct {
	index int
	body  []byte
}

// run sends the requests with so many callers and keeps each caller's last good answer, where last is given.
func run(client *http.Client, requests []*http.Request, callers int, last []answer) result {
	var next atomic.Int64
	var group sync.WaitGroup
	var firstError atomic.Pointer[string]
	var failures atomic.Int64
	durations := make([][]time.Duration, callers)
	begun := time.Now()
	for caller := range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				index := int(next.Add(1)) - 1
				if index >= len(requests) {
					return
				}
				asked := time.Now()
				body, err := send(client, requests[index])
				durations[caller] = append(durations[caller], time.Since(asked))
				if err != nil {
					failures.Add(1)
					text := err.Error()
					firstError.CompareAndSwap(nil, &text)
				} else if last != nil {
					last[caller] = answer{index, body}
				}
			}
		}()
	}
	group.Wait()
	seconds := time.Since(begun).Seconds()
	all := slices.Concat(durations...)
	slices.Sort(all)
	measured := result{Requests: len(requests), Errors: int(failures.Load()), Seconds: seconds, P50Ms: quantile(all, 0.50), P99Ms: quantile(all, 0.99)}
	if text := firstError.Load(); text != nil {
		measured.FirstError = *text
	}
	return measured
}

func send(client *http.Client, request *http.Request) ([]byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("%s: %.300s", response.Status, body)
	}
	return body, nil
}

// verify holds that an answer's certificate is for the key that its request proved.
func verify(asked authority, one answer, samples []*sample) error {
	text, err := asked.certificate(one.body)
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return fmt.Errorf("no PEM in the answer")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	if !samples[one.index].key.PublicKey.Equal(certificate.PublicKey) {
		return fmt.Errorf("the certificate is for another key")
	}
	return certificate.VerifyHostname(samples[one.index].name)
}

// newClient speaks HTTP/1.1 to every server, so that both are asked in the same way.
func newClient(roots string, callers int) (*http.Client, error) {
	text, err := os.ReadFile(roots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no certificate in %s", roots)
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConns:        callers,
		MaxIdleConnsPerHost: callers,
		MaxConnsPerHost:     callers,
		DisableCompression:  true,
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}, nil
}

// quantile of sorted durations, in milliseconds.
func quantile(sorted []time.Duration, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	index := min(int(float64(len(sorted))*part), len(sorted)-1)
	return float64(sorted[index].Microseconds()) / 1000
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
