package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

// Bounds of one chart; the largest public ones stay far below.
const (
	maxArchive = 16 << 20 // as fetched
	maxContent = 64 << 20 // unpacked
	maxFiles   = 5000
	maxRatio   = 200     // unpacked to packed, beyond the first MiB
	freeRatio  = 1 << 20 // tiny archives may unfold well
)

// FromArchive loads a chart archive.
func FromArchive(data []byte) (*Chart, error) {
	files, err := unpack(data)
	if err != nil {
		return nil, fmt.Errorf("unpacking the chart: %w", err)
	}
	return newChart(files, digestOf(data))
}

func newChart(files []*archive.BufferedFile, digest string) (*Chart, error) {
	c, err := load(files)
	if err != nil {
		return nil, err
	}
	return &Chart{Name: c.Name(), Version: c.Metadata.Version, Digest: digest, files: files}, check(c)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func load(files []*archive.BufferedFile) (loaded *chart.Chart, err error) {
	defer func() {
		if p := recover(); p != nil { // Helm's loader and its YAML, over hostile input
			loaded, err = nil, oneLine(fmt.Errorf("loading the chart panicked: %v", p))
		}
	}()
	loaded, err = loader.LoadFiles(files)
	if err == nil && loaded.Metadata == nil {
		err = errors.New("it has no Chart.yaml")
	}
	if err != nil {
		return nil, fmt.Errorf("loading the chart: %w", oneLine(err))
	}
	return loaded, nil
}

// unpack reads a .tgz into memory: regular files below one folder and nothing else.
func unpack(data []byte) ([]*archive.BufferedFile, error) {
	if len(data) > maxArchive {
		return nil, fmt.Errorf("it takes %d MiB, at most %d MiB", len(data)>>20, maxArchive>>20)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, errors.New("it is not a gzipped archive")
	}
	most := min(int64(maxContent), max(freeRatio, int64(len(data))*maxRatio))
	limited := &io.LimitedReader{R: unzipped, N: most + 1}
	reader := tar.NewReader(limited)
	var files []*archive.BufferedFile
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && limited.N <= 0 {
			err = io.ErrShortBuffer
		}
		if err != nil {
			return nil, unpackError(err, limited, most)
		}
		if header.FileInfo().IsDir() || header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := inside(header)
		if err != nil {
			return nil, err
		}
		if len(files) >= maxFiles {
			return nil, fmt.Errorf("it holds more than %d files", maxFiles)
		}
		content, err := io.ReadAll(reader)
		if err != nil || limited.N <= 0 {
			return nil, unpackError(err, limited, most)
		}
		files = append(files, &archive.BufferedFile{Name: name, ModTime: header.ModTime, Data: content})
	}
	if len(files) == 0 {
		return nil, errors.New("it is empty")
	}
	return files, nil
}

func unpackError(err error, limited *io.LimitedReader, most int64) error {
	if limited.N <= 0 {
		return fmt.Errorf("it unfolds to more than %d MiB", most>>20)
	}
	return oneLine(err)
}

// inside is a file's name below the archive's folder.
func inside(header *tar.Header) (string, error) {
	name := header.Name
	if header.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("%q is a link or a special file", name)
	}
	_, below, ok := strings.Cut(name, "/")
	if !ok || !fs.ValidPath(strings.TrimPrefix(name, "./")) || strings.ContainsAny(name, "\\:\x00") {
		return "", fmt.Errorf("%q is not a file name below the chart's folder", name)
	}
	if path.Clean(below) != below {
		return "", fmt.Errorf("%q is not a plain file name", name)
	}
	return below, nil
}

// FromTree loads the chart at a path of a Git tree.
func FromTree(tree fs.FS, at string) (*Chart, error) {
	at = path.Clean(strings.TrimPrefix(strings.TrimPrefix(at, "./"), "/"))
	root, err := fs.Sub(tree, at)
	if err != nil {
		return nil, fmt.Errorf("chart path %q: %w", at, err)
	}
	if _, err := fs.Stat(root, "Chart.yaml"); err != nil {
		return nil, &Error{Err: fmt.Errorf("there is no chart at %q: it has no Chart.yaml", at), Advice: "properties.chart is the chart's folder in the repository"}
	}
	files, err := read(root)
	if err != nil {
		return nil, fmt.Errorf("reading the chart at %q: %w", at, err)
	}
	c, err := newChart(files, "")
	if err != nil {
		return nil, err
	}
	c.Digest = digestOf([]byte(c.Name + "\x00" + c.Version))
	return c, nil
}

func read(root fs.FS) ([]*archive.BufferedFile, error) {
	var files []*archive.BufferedFile
	left := int64(maxContent)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%q is a link or a special file", name)
		case len(files) >= maxFiles:
			return fmt.Errorf("there are more than %d files", maxFiles)
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		if left -= int64(len(content)); left < 0 {
			return fmt.Errorf("it takes more than %d MiB", maxContent>>20)
		}
		files = append(files, &archive.BufferedFile{Name: name, Data: content})
		return nil
	})
	return files, err
}
