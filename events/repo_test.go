package events

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestRepoKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, url, want string }{
		{"case of a known forge", "https://github.com/Org/Repo.git", "github.com/org/repo"},
		{"user info and trailing slash", "https://token@github.com/org/repo/", "github.com/org/repo"},
		{"password", "https://user:pa%2Fss@github.com/org/repo", "github.com/org/repo"},
		{"scp-like", "git@github.com:org/repo", "github.com/org/repo"},
		{"scp-like with another user", "org-1234@github.com:org/repo.git", "github.com/org/repo"},
		{"scp-like without user", "github.com:org/repo.git", "github.com/org/repo"},
		{"ssh with its own port", "ssh://git@github.com:22/org/repo.git", "github.com/org/repo"},
		{"ssh through the https port", "ssh://git@ssh.github.com:443/org/repo.git", "github.com/org/repo"},
		{"ssh alias with the port elsewhere", "git@ssh.github.com:org/repo.git", "github.com/org/repo"},
		{"ssh alias of gitlab", "ssh://git@altssh.gitlab.com:443/g/s/p.git", "gitlab.com/g/s/p"},
		{"ssh alias of bitbucket", "ssh://git@altssh.bitbucket.org:443/w/r.git", "bitbucket.org/w/r"},
		{"the alias is for ssh only", "https://ssh.github.com/org/repo", "ssh.github.com/org/repo"},
		{"https with its own port", "https://github.com:443/org/repo.git/", "github.com/org/repo"},
		{"no scheme", "github.com/org/repo", "github.com/org/repo"},
		{"no scheme, with a user", "git@github.com/org/repo", "github.com/org/repo"},
		{"sub-groups", "git@gitlab.example.com:group/sub/proj.git", "gitlab.example.com/group/sub/proj"},
		{"sub-groups on https", "https://gitlab.example.com/Group/Sub/Proj.git", "gitlab.example.com/group/sub/proj"},
		{"relative URL install", "https://code.example.com/gitlab/group/proj", "code.example.com/gitlab/group/proj"},
		{"bitbucket by ssh", "ssh://git@bb.example.com:7999/proj/app.git", "bb.example.com:7999/proj/app"},
		{"bitbucket by ssh, upper-case project", "ssh://git@bb.example.com:7999/PROJ/app.git", "bb.example.com:7999/proj/app"},
		{"bitbucket clone URL", "https://bb.example.com/scm/PROJ/app.git", "bb.example.com/proj/app"},
		{"bitbucket clone URL on its own port", "http://bb.example.com:7990/scm/PROJ/app.git", "bb.example.com:7990/proj/app"},
		{"bitbucket named host", "https://bitbucket.example.com/scm/PROJ/app.git", "bitbucket.example.com/proj/app"},
		{"bitbucket web URL", "https://bb.example.com/projects/PROJ/repos/app/browse", "bb.example.com/proj/app"},
		{"bitbucket web URL without browse", "https://bb.example.com/projects/PROJ/repos/app", "bb.example.com/proj/app"},
		{"bitbucket personal web URL", "https://bb.example.com/users/Ann/repos/app/browse", "bb.example.com/~ann/app"},
		{"bitbucket personal clone URL", "https://bb.example.com/scm/~ann/app.git", "bb.example.com/~ann/app"},
		{"bitbucket context path", "https://example.com/bitbucket/scm/PROJ/app.git", "example.com/bitbucket/proj/app"},
		{"scm is a name at github", "https://github.com/scm/proj/app", "github.com/scm/proj/app"},
		{"scm is a name in bitbucket cloud", "https://bitbucket.org/scm/app", "bitbucket.org/scm/app"},
		{"scm is a project", "https://bb.example.com/scm/app", "bb.example.com/scm/app"},
		{"azure scp-like", "git@ssh.dev.azure.com:v3/org/My%20Proj/app", "dev.azure.com/org/my proj/app"},
		{"azure ssh", "ssh://git@ssh.dev.azure.com:22/v3/org/My%20Proj/app", "dev.azure.com/org/my proj/app"},
		{"azure https", "https://org@dev.azure.com/org/My%20Proj/_git/app", "dev.azure.com/org/my proj/app"},
		{"azure collapsed", "https://dev.azure.com/org/_git/app", "dev.azure.com/org/app/app"},
		{"azure old host", "https://org.visualstudio.com/DefaultCollection/app/_git/app", "dev.azure.com/org/app/app"},
		{"azure old host, no collection", "https://Org.visualstudio.com/Proj/_git/app", "dev.azure.com/org/proj/app"},
		{"azure old host, collapsed", "https://org.visualstudio.com/_git/app", "dev.azure.com/org/app/app"},
		{"azure old host by ssh", "org@vs-ssh.visualstudio.com:v3/org/proj/app", "dev.azure.com/org/proj/app"},
		{"azure key", "https://dev.azure.com/org/proj/app", "dev.azure.com/org/proj/app"},
		{"codecommit https", "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/Name", "codecommit/eu-west-1/Name"},
		{"codecommit ssh", "ssh://APKA123@git-codecommit.eu-west-1.amazonaws.com/v1/repos/Name", "codecommit/eu-west-1/Name"},
		{"codecommit fips in china", "https://git-codecommit-fips.cn-north-1.amazonaws.com.cn/v1/repos/n", "codecommit/cn-north-1/n"},
		{"codecommit own scheme", "codecommit::eu-west-1://profile@Name", "codecommit/eu-west-1/Name"},
		{"codecommit look-alike", "https://git-codecommit.eu-west-1.amazonaws.com.evil.example/v1/repos/n", "git-codecommit.eu-west-1.amazonaws.com.evil.example/v1/repos/n"},
		{"absolute scp-like path", "git@host:/srv/git/app.git", "host/srv/git/app"},
		{".git is stripped once", "https://github.com/org/repo.git.git", "github.com/org/repo.git"},
		{"a bare repository's directory", "ssh://host/srv/app/.git", "host/srv/app"},
		{"a wiki is not its repository", "https://github.com/org/repo.wiki.git", "github.com/org/repo.wiki"},
		{"a longer name is another", "https://github.com/org/repository", "github.com/org/repository"},
		{"the forge's name in front", "https://github.com.evil.example/org/repo", "github.com.evil.example/org/repo"},
		{"the forge's name in the path", "https://evil.example/github.com/org/repo", "evil.example/github.com/org/repo"},
		{"the forge's name as user", "https://github.com@evil.example/org/repo", "evil.example/org/repo"},
		{"the forge's name in the fragment", "https://evil.example/org/repo#@github.com/org/repo", "evil.example/org/repo"},
		{"case of an unknown server", "https://Git.Example.com/Team/App.git", "git.example.com/Team/App"},
		{"github enterprise cloud", "https://acme.ghe.com/Team/App", "acme.ghe.com/team/app"},
		{"surrounding spaces", "  https://github.com/org/repo  ", "github.com/org/repo"},
		{"query and fragment", "https://github.com/org/repo?ref=main#readme", "github.com/org/repo"},
		{"trailing dot", "https://github.com./org/repo", "github.com/org/repo"},
		{"other port", "https://git.example.com:8443/org/repo", "git.example.com:8443/org/repo"},
		{"port with zeros", "https://github.com:0443/org/repo", "github.com/org/repo"},
		{"a default of another scheme", "http://git.example.com:443/org/repo", "git.example.com:443/org/repo"},
		{"8080 is not 80", "http://git.example.com:8080/org/repo", "git.example.com:8080/org/repo"},
		{"empty port", "https://github.com:/org/repo", "github.com/org/repo"},
		{"git scheme", "git://git.example.com:9418/org/repo.git", "git.example.com/org/repo"},
		{"git+ssh", "git+ssh://git@github.com/org/repo", "github.com/org/repo"},
		{"git+https", "GIT+HTTPS://github.com:443/org/repo", "github.com/org/repo"},
		{"doubled slashes and dots", "https://github.com//org/./repo//", "github.com/org/repo"},
		{"escaped once", "https://github.com/%6Frg/repo", "github.com/org/repo"},
		{"escaped twice stays escaped once", "https://git.example.com/o/%2541", "git.example.com/o/%41"},
		{"escaped slash", "https://github.com/org%2Frepo", "github.com/org/repo"},
		{"international host", "https://bücher.example/o/r", "xn--bcher-kva.example/o/r"},
		{"look-alike letter", "https://g\u0456thub.com/org/repo", "xn--gthub-n2e.com/org/repo"},
		{"decomposed letters", "https://git.example.com/o/cafe\u0301", "git.example.com/o/caf\u00e9"},
		{"underscore in host", "https://my_git.internal/o/r", "my_git.internal/o/r"},
		{"IPv4", "http://127.0.0.1:3000/o/r.git", "127.0.0.1:3000/o/r"},
		{"IPv6", "ssh://git@[2001:DB8::1]:22/o/r.git", "[2001:db8::1]/o/r"},
		{"IPv6 with port", "https://[2001:db8::1]:8443/o/r.git", "[2001:db8::1]:8443/o/r"},
		{"IPv6 scp-like", "git@[2001:db8::1]:o/r.git", "[2001:db8::1]/o/r"},
		{"home directory", "ssh://host/~ann/r.git", "host/~ann/r"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := RepoKey(tt.url)
			if err != nil || got != tt.want {
				t.Errorf("RepoKey(%q) = %q, %v, want %q", tt.url, got, err, tt.want)
			}
		})
	}
}

func TestRepoKeyRefuses(t *testing.T) {
	t.Parallel()
	const (
		empty     = "the repository URL is empty"
		bytes     = "the repository URL holds a control character, backslash or invalid UTF-8"
		noScheme  = "the repository URL has no scheme and does not start with a host name"
		unparsed  = "the repository URL does not parse"
		scheme    = "the repository URL is neither https, http, ssh nor git"
		host      = "the repository URL has no valid host name"
		port      = "the repository URL has a port that is not from 1 to 65535"
		escape    = "the repository URL has a broken percent-escape or hides a control character behind one"
		climbs    = "the repository URL climbs out with .. in its path"
		noRepo    = "the repository URL names a server but no repository"
		overlong  = "the repository URL is longer than 2048 bytes"
		canary    = "s3cret"
		withToken = "https://" + canary + "@"
	)
	for _, tt := range []struct{ name, url, want string }{
		{"empty", "", empty},
		{"blank", "   ", empty},
		{"newline", "https://github.com/org/repo\n", bytes},
		{"tab", "https://github.com/\torg/repo", bytes},
		{"NUL", "https://github.com/org/repo\x00", bytes},
		{"bad UTF-8", "https://github.com/org/\xff", bytes},
		{"right-to-left override", "https://github.com/org/\u202eoper", bytes},
		{"zero width space", "https://github.com/org/re\u200bpo", bytes},
		{"no-break space", "\u00a0https://github.com/org/repo", bytes},
		{"byte order mark", "\ufeffhttps://github.com/org/repo", bytes},
		{"backslash before the at sign", `https://github.com\@evil.example/org/repo`, bytes},
		{"windows path", `C:\git\repo`, bytes},
		{"windows path with slashes", "C:/git/repo", noScheme},
		{"bare path", "/srv/git/app.git", noScheme},
		{"relative path", "../app.git", noScheme},
		{"name only", "app", noScheme},
		{"two names", "org/repo", noScheme},
		{"file", "file:///srv/git/app.git", scheme},
		{"ext", "ext::sh -c touch% /tmp/x", noScheme},
		{"ext with host", "ext::https://github.com/org/repo", scheme},
		{"ftp", "ftp://github.com/org/repo", scheme},
		{"javascript", "javascript:alert(1)", noScheme},
		{"scheme without slashes", "https:github.com/org/repo", unparsed},
		{"scheme with one slash", "https:/github.com/org/repo", noScheme},
		{"no host", "https:///org/repo", host},
		{"host with a space", "https://git hub.com/org/repo", unparsed},
		{"escaped host", "https://github%2ecom/org/repo", unparsed},
		{"empty label", "https://github..com/org/repo", host},
		{"host like an option", "https://-oProxyCommand=x/org/repo", host},
		{"scp-like host like an option", "-oProxyCommand=x:org/repo", host},
		{"port 0", "https://github.com:0/org/repo", port},
		{"port too large", "https://github.com:65536/org/repo", port},
		{"port not a number", "https://github.com:ssh/org/repo", unparsed},
		{"climbs", "https://github.com/org/../other/repo", climbs},
		{"climbs, escaped", "https://github.com/org/%2e%2e/other/repo", climbs},
		{"climbs, scp-like", "git@github.com:../repo", climbs},
		{"escaped NUL", "https://github.com/org/repo%00", escape},
		{"escaped newline", "git@github.com:org/repo%0a", escape},
		{"broken escape", "https://github.com/org/%zz", unparsed},
		{"broken escape, scp-like", "git@github.com:org/%zz", escape},
		{"server only", "https://github.com/", noRepo},
		{"only .git", "https://github.com/.git", noRepo},
		{"scp-like without path", "git@github.com:", noRepo},
		{"IPv6 zone", "ssh://git@[fe80::1%25eth0]/o/r", host},
		{"long", "https://github.com/" + strings.Repeat("a", 2048), overlong},
		{"password before an scp-like host", "me:" + canary + "@host:org/repo", noScheme},
		{"token and no repository", withToken + "github.com", noRepo},
		{"token and broken escape", withToken + "github.com/%zz", unparsed},
		{"token and bad host", withToken + "git..hub/org/repo", host},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, err := RepoKey(tt.url)
			if err == nil {
				t.Fatalf("RepoKey(%q) = %q, want %q", tt.url, key, tt.want)
			}
			if err.Error() != tt.want || strings.Contains(err.Error(), canary) {
				t.Errorf("RepoKey(%q): %q, want %q", tt.url, err, tt.want)
			}
		})
	}
}

// One repository, written in every way: one key, and none of them is a neighbour's.
func TestRepoKeySpellings(t *testing.T) {
	t.Parallel()
	spellings := []string{
		"https://github.com/Acme/Config", "https://github.com/acme/config.git", "https://github.com/acme/config/",
		"http://github.com/acme/config", "https://x:y@github.com/acme/config", "https://GITHUB.COM/ACME/CONFIG.git",
		"https://github.com:443/acme/config", "https://github.com./acme/config", "https://github.com/acme//config",
		"https://github.com/./acme/config", "https://github.com/%61cme/config", "https://github.com/acme%2fconfig",
		"https://github.com/acme/config?x=y", "https://github.com/acme/config#main", " https://github.com/acme/config ",
		"ssh://git@github.com/acme/config.git", "ssh://github.com:22/acme/config", "git+ssh://git@github.com/acme/config",
		"ssh://git@ssh.github.com:443/acme/config.git", "git@github.com:acme/config.git", "git@github.com:/acme/config",
		"github.com:acme/config", "github.com/acme/config", "git://github.com/acme/config.git", "git+https://github.com/acme/config",
	}
	for _, s := range spellings {
		if got, err := RepoKey(s); err != nil || got != "github.com/acme/config" {
			t.Errorf("RepoKey(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"https://github.com/acme/config2", "https://github.com/acme/config.wiki", "https://github.com/acme/config/x",
		"https://github.com/acme", "https://github.com/acmee/config", "https://github.comm/acme/config",
		"https://github.com.evil.example/acme/config", "https://evil.example/github.com/acme/config",
		"https://github.com:8443/acme/config", "https://github.com/.*/.*", "https://github.com/acme/*",
		"https://github.com/acme/config%3Fx", "https://github.com/acme/config%23x", "https://github.com@evil.example/acme/config",
	} {
		if got, _ := RepoKey(s); got == "github.com/acme/config" {
			t.Errorf("RepoKey(%q) is that of another repository", s)
		}
	}
}

func TestHostAliases(t *testing.T) {
	t.Parallel()
	aliases := HostAliases{"bb.example.com:7999": "bb.example.com", "ssh.git.example": "git.example:8443"}
	for _, tt := range []struct{ url, want string }{
		{"ssh://git@bb.example.com:7999/PROJ/app.git", "bb.example.com/proj/app"},
		{"https://bb.example.com/scm/PROJ/app.git", "bb.example.com/proj/app"},
		{"git@ssh.git.example:team/app.git", "git.example:8443/team/app"},
		{"https://github.com/org/repo", "github.com/org/repo"},
	} {
		if got, err := aliases.RepoKey(tt.url); err != nil || got != tt.want {
			t.Errorf("RepoKey(%q) = %q, %v, want %q", tt.url, got, err, tt.want)
		}
	}
}

func TestSourceKey(t *testing.T) {
	t.Parallel()
	composed := SourceKey("github.com/org/repo", "refs/heads/caf\u00e9")
	if want := "github.com/org/repo@refs/heads/caf\u00e9"; composed != want {
		t.Errorf("composed: %q, want %q", composed, want)
	}
	if decomposed := SourceKey("github.com/org/repo", "refs/heads/cafe\u0301"); decomposed != composed {
		t.Errorf("decomposed: %q, want %q", decomposed, composed)
	}
}

func TestFoldRepoKey(t *testing.T) {
	t.Parallel()
	if got, want := FoldRepoKey("git.example.com/Team/App"), "git.example.com/team/app"; got != want {
		t.Errorf("FoldRepoKey = %q, want %q", got, want)
	}
}

func FuzzRepoKey(f *testing.F) {
	for _, s := range []string{
		"https://github.com/Org/Repo.git", "git@github.com:org/repo", "ssh://git@[::1]:22/a/b", "https://h/scm/a/b",
		"codecommit::eu-west-1://p@n", "git@ssh.dev.azure.com:v3/o/p%20q/r", "https://org.visualstudio.com/_git/r",
		"a:b@c:d", `C:\x`, "https://h/%2e%2e/x", "h.example/cafe\u0301", "https://\u0130.example/\u212a/x", "x.y:.git/.git",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		key, err := RepoKey(raw)
		if err != nil {
			if key != "" {
				t.Errorf("key %q beside error %v", key, err)
			}
			return
		}
		host, path, ok := strings.Cut(key, "/")
		if !ok || host == "" || path == "" || host != strings.ToLower(host) {
			t.Fatalf("RepoKey(%q) = %q", raw, key)
		}
		for part := range strings.SplitSeq(path, "/") {
			if part == "" || part == "." || part == ".." {
				t.Errorf("RepoKey(%q) = %q has the part %q", raw, key, part)
			}
		}
		if !utf8.ValidString(key) || !norm.NFC.IsNormalString(key) || strings.ContainsFunc(key, unicode.IsControl) {
			t.Errorf("RepoKey(%q) = %q is not clean text", raw, key)
		}
		// A key written as a URL names the same repository, unless a suffix is due again.
		again, err := RepoKey("https://" + host + "/" + (&url.URL{Path: path + ".git"}).EscapedPath())
		if host != "codecommit" && (err != nil || again != key) && !strings.Contains(path, "scm/") && !strings.Contains(path, "repos/") {
			t.Errorf("RepoKey(%q) = %q, but read again %q, %v", raw, key, again, err)
		}
	})
}
