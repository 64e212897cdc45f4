package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
)

// chancery is asked by POST /v1/certificates with a bearer token and a key of its own for each request.
type chancery struct {
	url     string
	profile string
	token   string
}

func newChancery(url, profile, tokenFile string) (*chancery, error) {
	token, err := os.ReadFile(tokenFile)
	return &chancery{url, profile, strings.TrimSpace(string(token))}, err
}

func (c *chancery) request(one *sample) (*http.Request, error) {
	body, err := json.Marshal(map[string]string{"csr": one.csr, "profile": c.profile})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, c.url+"/v1/certificates", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", unique())
	return request, nil
}

func (c *chancery) certificate(body []byte) (string, error) {
	var answer struct {
		Certificate string `json:"certificate"`
	}
	err := json.Unmarshal(body, &answer)
	return answer.Certificate, err
}
