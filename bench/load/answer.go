package main

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"path"
	"sync"
)

// A responder answers http-01 challenges (RFC 8555 §8.3) on one port for every name.
type responder struct{ expected sync.Map }

func answerChallenges(address string) (*responder, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	r := &responder{}
	go http.Serve(listener, r)
	return r, nil
}

func (r *responder) expect(token, thumbprint string) { r.expected.Store(token, token+"."+thumbprint) }

func (r *responder) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	text, known := r.expected.Load(path.Base(request.URL.Path))
	if !known {
		http.NotFound(writer, request)
		return
	}
	io.WriteString(writer, text.(string))
}

// answerNames is a name server that knows one address, 127.0.0.1, for every name, over UDP and TCP.
func answerNames(address string) error {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		query := make([]byte, 4096)
		for {
			length, from, err := packets.ReadFrom(query)
			if err != nil {
				return
			}
			if answer := answerTo(query[:length]); answer != nil {
				packets.WriteTo(answer, from)
			}
		}
	}()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go answerStream(connection)
		}
	}()
	return nil
}

// answerStream answers messages with their length before them (RFC 1035 §4.2.2).
func answerStream(connection net.Conn) {
	defer connection.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(connection, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(connection, query); err != nil {
			return
		}
		answer := answerTo(query)
		if answer == nil {
			return
		}
		connection.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

const (
	headerLength = 12
	typeA        = 1
)

// answerTo repeats the question as it was spelled, and adds the address where one was asked for (RFC 1035 §4.1).
func answerTo(query []byte) []byte {
	end := headerLength
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root's label, QTYPE, QCLASS
	if end > len(query) {
		return nil
	}
	answer := append([]byte{}, query[:end]...)
	answers := uint16(0)
	if binary.BigEndian.Uint16(query[end-4:]) == typeA {
		answers = 1
		// A pointer to the question's name, A, IN, a TTL of 60 s, four octets.
		answer = append(answer, 0xc0, headerLength, 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	binary.BigEndian.PutUint16(answer[2:], 0x8580) // an authoritative answer, recursion wanted and there, no error
	binary.BigEndian.PutUint16(answer[4:], 1)
	binary.BigEndian.PutUint16(answer[6:], answers)
	binary.BigEndian.PutUint32(answer[8:], 0)
	return answer
}
