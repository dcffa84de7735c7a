// Package charts is a Helm chart repository in a folder: the chart that the example
// needs, and whatever a story publishes. In: the files of a chart. Out: an archive and an
// index.yaml, as helm package and helm repo index make them; any web server can serve
// the folder.
package charts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

//go:embed all:mysql-operator
var files embed.FS

// Create makes dir a repository with the chart of the example.
func Create(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	chart, err := fs.Sub(files, "mysql-operator")
	if err != nil {
		return err
	}
	return Publish(dir, chart)
}

// index is the index.yaml of a repository.
type index struct {
	APIVersion string             `json:"apiVersion"`
	Entries    map[string][]entry `json:"entries"`
}

// entry is one version of a chart.
type entry struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Digest  string   `json:"digest"`
	URLs    []string `json:"urls"`
}

// Publish adds a chart to the repository in dir.
func Publish(dir string, chart fs.FS) error {
	meta, err := fs.ReadFile(chart, "Chart.yaml")
	if err != nil {
		return err
	}
	var e entry
	if err := yaml.Unmarshal(meta, &e); err != nil {
		return fmt.Errorf("reading Chart.yaml: %w", err)
	}
	data, err := pack(chart, e.Name)
	if err != nil {
		return fmt.Errorf("packing chart %s: %w", e.Name, err)
	}
	sum := sha256.Sum256(data)
	file := e.Name + "-" + e.Version + ".tgz"
	e.Digest, e.URLs = hex.EncodeToString(sum[:]), []string{file}
	if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
		return err
	}
	return add(filepath.Join(dir, "index.yaml"), e)
}

// add writes the index anew; whoever reads it sees the old one or the new one.
func add(path string, e entry) error {
	all := index{APIVersion: "v1", Entries: map[string][]entry{}}
	old, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(old, &all)
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	all.Entries[e.Name] = append([]entry{e}, all.Entries[e.Name]...)
	data, err := yaml.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// pack makes an archive with everything below one folder.
func pack(chart fs.FS, folder string) ([]byte, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	err := fs.WalkDir(chart, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(chart, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + path, Mode: 0o644, Size: int64(len(data))}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
