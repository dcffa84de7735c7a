package files

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// ReadTar reads a tar archive, packed with gzip or not, of the given size as it came over
// the network. The reader's end is the archive's: what follows is read, too, so that a
// caller can check a digest of all of it.
func ReadTar(r io.Reader, packed int64, limits Limits) (*Tree, error) {
	t := New(limits)
	in := bufio.NewReader(r)
	content := io.Reader(in)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, &Error{"", "the archive does not unpack"}
		}
		content = unpacked
	}
	// Headers and padding count as well: they are read, and a bomb may be made of them.
	most := min(max(packed, minPacked)*t.limits.Ratio, t.limits.Bytes+int64(t.limits.Entries)*entryOverhead)
	bounded := &io.LimitedReader{R: content, N: most + 1}
	if err := t.readEntries(tar.NewReader(bounded), bounded); err != nil {
		return nil, t.archiveError(err, bounded, most)
	}
	if _, err := io.Copy(io.Discard, bounded); err != nil || bounded.N <= 0 {
		return nil, t.archiveError(cmpError(err), bounded, most)
	}
	_, err := io.Copy(io.Discard, in)
	return t, err
}

// A small archive may shrink more than a large one, and each entry of a tar has a header
// and padding, with a long name several.
const (
	minPacked     = 4 << 10
	entryOverhead = 4 << 10
)

func cmpError(err error) error {
	if err == nil {
		return errTooMuch
	}
	return err
}

var errTooMuch = errors.New("too much")

// archiveError says in our words what is wrong with an archive.
func (t *Tree) archiveError(err error, bounded *io.LimitedReader, most int64) error {
	if wrong, ok := errors.AsType[*Error](err); ok {
		return wrong
	}
	if bounded.N <= 0 {
		return &Error{"", fmt.Sprintf("the archive unpacks to more than %d MiB or %d times its size", most>>20, t.limits.Ratio)}
	}
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return &Error{"", "the archive is not a tar file, or is damaged"}
	}
	return fmt.Errorf("reading the archive: %w", err)
}

func (t *Tree) readEntries(archive *tar.Reader, bounded *io.LimitedReader) error {
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			if bounded.N <= 0 {
				return errTooMuch
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeDir:
			err = t.Mkdir(header.Name)
		case tar.TypeReg:
			err = t.addFrom(archive, header)
		case tar.TypeXGlobalHeader: // git archive writes one
		case tar.TypeSymlink, tar.TypeLink:
			err = &Error{header.Name, "is a link"}
		default:
			err = &Error{header.Name, "is neither a file nor a directory"}
		}
		if err != nil {
			return err
		}
	}
}

func (t *Tree) addFrom(archive *tar.Reader, header *tar.Header) error {
	if header.Size > t.limits.Bytes-t.size {
		return t.tooLarge()
	}
	data, err := io.ReadAll(archive)
	if err != nil {
		return err
	}
	return t.Add(header.Name, data)
}
