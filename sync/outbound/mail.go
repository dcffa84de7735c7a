package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/mail"
	"net/smtp"
	"strconv"
	"strings"
	"time"
)

// Mail is one message.
type Mail struct {
	From     mail.Address
	Password string
	Host     string
	Port     int
	To       []string
	Subject  string
	Body     string
}

// portTLS is where mail is sent over TLS from the beginning.
const portTLS = 465

// Send sends a message. The password is only sent over TLS, or to this machine.
func (c *Client) Send(ctx context.Context, m Mail) error {
	if len(m.To) == 0 {
		return errors.New("mail: nobody to send it to")
	}
	ctx, cancel := context.WithTimeout(ctx, maxTimeout)
	defer cancel()
	port := strconv.Itoa(m.Port)
	conn, err := c.dial(ctx, "tcp", net.JoinHostPort(m.Host, port))
	if err != nil {
		return fmt.Errorf("mail through %s: %w", m.Host, err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("mail through %s: %w", m.Host, err)
	}
	tlsConfig := &tls.Config{ServerName: m.Host, MinVersion: tls.VersionTLS12}
	if m.Port == portTLS {
		conn = tls.Client(conn, tlsConfig)
	}
	client, err := smtp.NewClient(conn, m.Host)
	if err != nil {
		return fmt.Errorf("mail through %s: %w", m.Host, err)
	}
	defer func() { _ = client.Close() }()
	if err := greet(client, m, tlsConfig); err != nil {
		return fmt.Errorf("mail through %s: %w", m.Host, err)
	}
	if err := deliver(client, m); err != nil {
		return fmt.Errorf("mail through %s: %w", m.Host, err)
	}
	return nil
}

func greet(client *smtp.Client, m Mail, tlsConfig *tls.Config) error {
	if ok, _ := client.Extension("STARTTLS"); ok && m.Port != portTLS {
		if err := client.StartTLS(tlsConfig); err != nil {
			return err
		}
	}
	if m.Password == "" {
		return nil
	}
	if ok, _ := client.Extension("AUTH"); !ok {
		return errors.New("it takes no password")
	}
	// PlainAuth itself refuses a connection that is not secret.
	return client.Auth(smtp.PlainAuth("", m.From.Address, m.Password, m.Host))
}

func deliver(client *smtp.Client, m Mail) error {
	if err := client.Mail(m.From.Address); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := client.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.message(time.Now())); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return client.Quit()
}

// message is the text as it is sent. Line ends in a header would add headers.
func (m Mail) message(now time.Time) []byte {
	var b strings.Builder
	header := func(name, value string) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.NewReplacer("\r", " ", "\n", " ").Replace(value))
	}
	header("From", m.From.String())
	header("To", strings.Join(m.To, ", "))
	header("Subject", mime.QEncoding.Encode("utf-8", m.Subject))
	header("Date", now.Format(time.RFC1123Z))
	header("MIME-Version", "1.0")
	kind := "text/plain"
	if strings.HasPrefix(strings.TrimSpace(m.Body), "<") {
		kind = "text/html"
	}
	header("Content-Type", kind+"; charset=utf-8")
	b.WriteString("\r\n")
	b.WriteString(strings.ReplaceAll(strings.ReplaceAll(m.Body, "\r\n", "\n"), "\n", "\r\n"))
	b.WriteString("\r\n")
	return []byte(b.String())
}
