package objects

import (
	"errors"
	"strings"
)

var (
	errReserved = errors.New("has a name that is reserved for Git's own files")
	errName     = errors.New("has a name that is empty or dots only")
	errByte     = errors.New("has a name with a slash, backslash or control character")
)

// checkName refuses names that some file system would read as something else. We write
// none of them anywhere, but what we hand on might be written by others.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." {
		return errName
	}
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c == 0x7f || c == '/' || c == '\\' {
			return errByte
		}
	}
	if isDotGit(name) {
		return errReserved
	}
	return nil
}

// isDotGit knows the spellings of .git: any case, with the code points that HFS+
// ignores, with what NTFS drops from the end, as NTFS short name, and as NTFS stream.
func isDotGit(name string) bool {
	name, _, _ = strings.Cut(name, ":")
	name = strings.TrimRight(strings.ToLower(stripIgnorable(name)), " .")
	if name == ".git" {
		return true
	}
	short, ok := strings.CutPrefix(name, "git~")
	return ok && len(short) == 1 && short[0] >= '0' && short[0] <= '9'
}

func stripIgnorable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, name)
}
