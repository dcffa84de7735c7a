package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// No forge nests deeper; encoding/json alone would follow 10 000 levels.
const maxDepth = 64

// decodeObject reads the members of a JSON object that into, a struct of raw messages,
// has fields for. What the others hold does not matter as long as it is JSON. A name
// that comes twice counts the last time, in upper or lower case.
func decodeObject(body []byte, into any) error {
	if start := bytes.TrimLeft(body, " \t\r\n"); len(start) == 0 || start[0] != '{' {
		return &MalformedError{"the body is not a JSON object", "post what the sender's documentation shows, as UTF-8"}
	}
	if depth(body) > maxDepth {
		return &MalformedError{fmt.Sprintf("the body nests deeper than %d levels", maxDepth), ""}
	}
	if err := json.Unmarshal(body, into); err != nil {
		problem := "the body is not valid JSON"
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			problem = fmt.Sprintf("%s at byte %d", problem, syntax.Offset)
		}
		return &MalformedError{problem, "it may have been cut off, or followed by something else"}
	}
	return nil
}

// depth is how deep objects and arrays nest, in one pass and without memory. Where the
// body is not JSON it is some number, and decoding says the rest.
func depth(body []byte) int {
	deepest, level, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// maxRaw holds the longest text we want with every byte escaped.
const maxRaw = 16 << 10

// text is a JSON string, and "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || len(raw) > maxRaw || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// isTrue is false for anything but a JSON true.
func isTrue(raw json.RawMessage) bool { return string(raw) == "true" }

// members decodes a nested object leniently: into stays empty for anything else.
func members(raw json.RawMessage, into any) {
	if len(raw) > 0 && raw[0] == '{' {
		_ = json.Unmarshal(raw, into) // valid JSON, and the fields take any
	}
}

// elements hands over the elements of a JSON array until fn has enough.
func elements(raw json.RawMessage, fn func(json.RawMessage) (more bool)) {
	if len(raw) == 0 || raw[0] != '[' {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the bracket
	for dec.More() {
		var element json.RawMessage
		if dec.Decode(&element) != nil || !fn(element) {
			return
		}
	}
}

// texts are the strings of a JSON array, at most limit; ok is false above that. Other
// elements are skipped.
func texts(raw json.RawMessage, limit int) (list []string, ok bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, true
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the bracket
	for n := 0; dec.More(); n++ {
		var element json.RawMessage
		if n == limit || dec.Decode(&element) != nil {
			return nil, false
		}
		if s := text(element); s != "" {
			list = append(list, s)
		}
	}
	return list, true
}

const maxPlain = 256 // bytes of it are enough for a log line

// plain is a text that a person wrote, fit for a log: short, without control characters.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > maxPlain {
		s = strings.ToValidUTF8(s[:maxPlain], "")
	}
	return s
}
