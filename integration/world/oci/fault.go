package oci

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The ways a registry can be broken. A status is also one: "401", "429", "500".
const (
	FaultLoop  = "loop"  // every page of tags names itself as the next
	FaultFlood = "flood" // 100 MB of tags
	FaultHTML  = "html"  // a page for people, with status 200
)

const floodBytes = 100 << 20

// Break makes the registry misbehave for everyone but the world.
func (s *Server) Break(how string) error {
	switch how {
	case FaultLoop, FaultFlood, FaultHTML, "401", "403", "429", "500", "503":
	default:
		return fmt.Errorf("unknown fault %q", how)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = how
	return nil
}

// Mend ends what Break began.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = ""
}

// misbehave reports whether it has answered.
func misbehave(w http.ResponseWriter, r *http.Request, how string, list bool) bool {
	switch how {
	case FaultLoop:
		if !list {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Link", fmt.Sprintf("<%s?last=x&n=1>; rel=\"next\"", r.URL.Path))
		_, _ = io.WriteString(w, `{"name":"x","tags":["master-00000000-1"]}`)
	case FaultFlood:
		if !list {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		flood(w)
	case FaultHTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>please log in</html>")
	case "429":
		w.Header().Set("Retry-After", "1")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	default:
		status, _ := strconv.Atoi(how) // checked by Break
		http.Error(w, "no", status)
	}
	return true
}

func flood(w io.Writer) {
	_, err := io.WriteString(w, `{"name":"x","tags":["a"`)
	line := strings.Repeat(`,"master-00000000-1632714412"`, 1000)
	for sent := 0; sent < floodBytes && err == nil; sent += len(line) {
		_, err = io.WriteString(w, line)
	}
	if err == nil {
		_, _ = io.WriteString(w, "]}")
	}
}
