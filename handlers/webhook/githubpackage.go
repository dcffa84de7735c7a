package webhook

import (
	"encoding/json"
	"strings"
)

// GHCR has no webhooks of its own: GitHub posts package or registry_package, one for each
// tag and each untagged part of an image.
type githubPackage struct {
	Action          json.RawMessage `json:"action"`
	Package         json.RawMessage `json:"package"`
	RegistryPackage json.RawMessage `json:"registry_package"`
	Sender          json.RawMessage `json:"sender"`
}

type githubPackageObject struct {
	Name      json.RawMessage `json:"name"`
	Namespace json.RawMessage `json:"namespace"`
	Ecosystem json.RawMessage `json:"ecosystem"`
	Type      json.RawMessage `json:"package_type"`
	Owner     json.RawMessage `json:"owner"`
	Version   json.RawMessage `json:"package_version"`
}

type githubPackageVersion struct {
	Version  json.RawMessage `json:"version"`
	URL      json.RawMessage `json:"package_url"`
	Metadata json.RawMessage `json:"container_metadata"`
}

type githubLogin struct {
	Login json.RawMessage `json:"login"`
}

func parseGitHubPackage(event string, body []byte) (Delivery, error) {
	var post githubPackage
	if err := decodeObject(body, &post); err != nil {
		return Delivery{}, err
	}
	raw := post.Package
	if event == "registry_package" {
		raw = post.RegistryPackage
	}
	var object githubPackageObject
	members(raw, &object)
	action := text(post.Action)
	switch {
	case !strings.EqualFold(text(object.Ecosystem), "container") && !strings.EqualFold(text(object.Type), "container"):
		return Delivery{Ignored: Ignored{OtherEvent, "the package is not a container image"}}, nil
	case action != "published" && action != "updated":
		return Delivery{Ignored: Ignored{OtherEvent, "this action is not used, published and updated are"}}, nil
	}
	push := object.push()
	var by githubLogin
	members(post.Sender, &by)
	push.pusher = text(by.Login)
	return Delivery{Changes: []Change{push.change()}}, nil
}

// push names the image by its package_url, which knows the host, as long as that agrees
// with owner and name; otherwise it is GHCR's.
func (o githubPackageObject) push() imagePush {
	var version githubPackageVersion
	var owner githubLogin
	var metadata struct {
		Tag json.RawMessage `json:"tag"`
	}
	var tag struct {
		Name   json.RawMessage `json:"name"`
		Digest json.RawMessage `json:"digest"`
	}
	members(o.Version, &version)
	members(o.Owner, &owner)
	members(version.Metadata, &metadata)
	members(metadata.Tag, &tag)

	by, name := text(owner.Login), text(o.Name)
	if by == "" {
		by = text(o.Namespace)
	}
	if by == "" || name == "" {
		return imagePush{}
	}
	path := "/" + strings.ToLower(by+"/"+name)
	p := imagePush{image: "ghcr.io" + path, tag: text(tag.Name), digest: text(tag.Digest)}
	if p.digest == "" {
		p.digest = text(version.Version)
	}
	url := text(version.URL)
	at := strings.LastIndexByte(url, ':')
	if at > strings.LastIndexByte(url, '/') && strings.HasSuffix(strings.ToLower(url[:at]), path) {
		p.image = url
	}
	return p
}
