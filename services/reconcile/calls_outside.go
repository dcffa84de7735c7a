package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"time"

	"github.com/tradewind-dev/tradewind/sync/outbound"
)

var errNoOutside = errors.New("requests of steps to the outside are switched off")

func (x *run) httpDo(ctx context.Context, p params) (map[string]any, error) {
	if x.outside == nil {
		return nil, errNoOutside
	}
	request := p.object("request")
	r := outbound.Request{Method: p.text("method"), URL: p.text("url"), Body: request.text("body"), Header: http.Header{}}
	for name, value := range request.object("header") {
		r.Header.Set(name, fmt.Sprint(value))
	}
	if d, err := time.ParseDuration(request.text("timeout")); err == nil {
		r.Timeout = d
	}
	if tls := p.object("tls_config"); tls != nil {
		data, err := x.cluster.SecretData(ctx, x.app.Namespace, tls.text("secret"))
		if err != nil {
			return nil, err
		}
		r.TLS = &outbound.TLS{CA: data["ca.crt"], Cert: data["client.crt"], Key: data["client.key"]}
	}
	answer, err := x.outside.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	header := map[string]any{}
	for name, values := range answer.Header {
		list := make([]any, 0, len(values))
		for _, v := range values {
			list = append(list, v)
		}
		header[name] = list
	}
	return map[string]any{"body": answer.Body, "header": header, "statusCode": int64(answer.Status)}, nil
}

func (x *run) sendMail(ctx context.Context, p params) error {
	if x.outside == nil {
		return errNoOutside
	}
	from, content := p.object("from"), p.object("content")
	return x.outside.Send(ctx, outbound.Mail{
		From: mail.Address{Name: from.text("alias"), Address: from.text("address")}, Password: from.text("password"),
		Host: from.text("host"), Port: from.number("port"), To: p.texts("to"), Subject: content.text("subject"), Body: content.text("body"),
	})
}
