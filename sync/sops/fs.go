package sops

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"regexp"
)

// FS returns tree with encrypted files decrypted as they are read. It is good for as long
// as ctx is.
func (d *Decrypter) FS(ctx context.Context, tree fs.FS, keys Identities) fs.FS {
	return &plain{FS: tree, ctx: ctx, decrypter: d, keys: keys}
}

// plain is a file system whose files are decrypted. Listings keep the sizes of what is
// encrypted.
type plain struct {
	fs.FS

	ctx       context.Context //nolint:containedctx // io/fs has no place for one
	decrypter *Decrypter
	keys      Identities
}

var (
	_ fs.ReadFileFS = (*plain)(nil)
	_ fs.ReadDirFS  = (*plain)(nil)
	_ fs.StatFS     = (*plain)(nil)
	_ fs.ReadLinkFS = (*plain)(nil)
)

// ReadFile implements [fs.ReadFileFS].
func (p *plain) ReadFile(name string) ([]byte, error) {
	data, err := fs.ReadFile(p.FS, name)
	if err != nil {
		return nil, err
	}
	for _, part := range partsOf(name, data) {
		if !part.encrypted {
			continue
		}
		if data, err = p.open(name, data); err != nil {
			return nil, fmt.Errorf("decrypting: %w", err)
		}
		break
	}
	return data, nil
}

// open decrypts a file as a whole where SOPS wrote it so, or document by document where
// some are encrypted and others are not, or were encrypted one by one.
func (p *plain) open(name string, data []byte) ([]byte, error) {
	parts := partsOf(name, data)
	together := true
	for _, part := range parts {
		together = together && part.encrypted && part.mac == parts[0].mac
	}
	if together {
		return p.decrypter.decrypt(p.ctx, name, data, p.keys)
	}
	var out bytes.Buffer
	for _, part := range parts {
		text := part.text
		if part.encrypted {
			var err error
			if text, err = p.decrypter.decrypt(p.ctx, name, part.text, p.keys); err != nil {
				return nil, fmt.Errorf("the document at line %d: %w", part.line, err)
			}
		}
		out.WriteString("---\n")
		out.Write(text)
		if !bytes.HasSuffix(text, []byte("\n")) {
			out.WriteByte('\n')
		}
	}
	return out.Bytes(), nil
}

// Open implements [fs.FS]. What it opens it has read.
func (p *plain) Open(name string) (fs.File, error) {
	file, err := p.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return file, err
	}
	data, err := p.ReadFile(name)
	if err != nil {
		_ = file.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &opened{Reader: *bytes.NewReader(data), File: file, info: sized{info, int64(len(data))}}, nil
}

// opened reads the plaintext of a file that is open.
type opened struct {
	bytes.Reader
	fs.File

	info sized
}

func (o *opened) Read(b []byte) (int, error) { return o.Reader.Read(b) }
func (o *opened) Stat() (fs.FileInfo, error) { return o.info, nil }

type sized struct {
	fs.FileInfo

	size int64
}

func (s sized) Size() int64 { return s.size }

// ReadDir implements [fs.ReadDirFS].
func (p *plain) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(p.FS, name) }

// Stat implements [fs.StatFS].
func (p *plain) Stat(name string) (fs.FileInfo, error) { return fs.Stat(p.FS, name) }

// ReadLink implements [fs.ReadLinkFS].
func (p *plain) ReadLink(name string) (string, error) { return fs.ReadLink(p.FS, name) }

// Lstat implements [fs.ReadLinkFS].
func (p *plain) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(p.FS, name) }

// part is a document of a YAML file, or a whole file of another format.
type part struct {
	text      []byte
	line      int // of its first line in the file, from 1
	encrypted bool
	mac       string // of its sops block; the same in all documents of one encryption
}

var (
	yamlBlock = regexp.MustCompile(`(?m)^["']?sops["']?:[ \t]*(#.*)?\r?$`)
	yamlMAC   = regexp.MustCompile(`(?m)^[ \t]+["']?mac["']?:[ \t]*["']?(ENC\[[^\]]*\])`)
	jsonBlock = regexp.MustCompile(`"sops"\s*:\s*\{`)
	jsonMAC   = regexp.MustCompile(`"mac"\s*:\s*"(ENC\[[^\]]*\])`)
	envMAC    = regexp.MustCompile(`(?m)^sops_mac=(ENC\[[^\]]*\])`)
	iniBlock  = regexp.MustCompile(`(?m)^\[sops\]`)
	iniMAC    = regexp.MustCompile(`(?m)^mac\s*=\s*(ENC\[[^\]]*\])`)
)

// partsOf takes a file apart and finds the sops blocks.
func partsOf(name string, data []byte) []part {
	whole := func(block, mac *regexp.Regexp) []part {
		m := mac.FindSubmatch(data)
		if m == nil || !block.Match(data) {
			return []part{{text: data, line: 1}}
		}
		return []part{{data, 1, true, string(m[1])}}
	}
	switch path.Ext(name) {
	case ".yaml", ".yml":
	case ".env":
		return whole(envMAC, envMAC)
	case ".ini":
		return whole(iniBlock, iniMAC)
	default:
		return whole(jsonBlock, jsonMAC)
	}
	var parts []part
	for _, p := range documents(data) {
		if m := yamlMAC.FindSubmatch(p.text); m != nil && yamlBlock.Match(p.text) {
			p.encrypted, p.mac = true, string(m[1])
		}
		parts = append(parts, p)
	}
	return parts
}

// documents splits YAML at its "---" lines.
func documents(data []byte) []part {
	var parts []part
	start, first, line, offset := 0, 1, 0, 0
	end := func(at int) {
		if text := data[start:at]; len(bytes.TrimSpace(text)) > 0 {
			parts = append(parts, part{text: text, line: first})
		}
	}
	for text := range bytes.Lines(data) {
		line++
		offset += len(text)
		if marker := bytes.TrimRight(text, " \t\r\n"); string(marker) == "---" || bytes.HasPrefix(marker, []byte("--- #")) {
			end(offset - len(text))
			start, first = offset, line+1
		}
	}
	end(len(data))
	return parts
}
