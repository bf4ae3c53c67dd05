// Command chat is every destination at once, on this machine: fakes of the chat platforms and of the programs that take alerts,
// and a page that shows what arrived as its readers would see it, with a button for each fault.
//
//	go run ./notify/notifytest/cmd/chat -listen 127.0.0.1:8090
//
// It checks what the real ones check and keeps nothing on disk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run serves until a signal and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8090", "address of the page and of all fakes")
	mail := flags.String("mail", "127.0.0.1:8025", "address of the mail server")
	secret := flags.String("secret", "", "signing secret that the fakes of feishu and dingtalk check; empty: none")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *mail, *secret, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "chat:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, listen, mail, secret string, stdout io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	mailListener, err := new(net.ListenConfig).Listen(ctx, "tcp", mail)
	if err != nil {
		_ = listener.Close()
		return fmt.Errorf("listen for mail: %w", err)
	}
	base := "http://" + listener.Addr().String()
	r := newRoom(base, mailListener.Addr().String(), secret)
	r.mail().Listen(mailListener)
	defer r.mail().Close()
	server := &http.Server{Handler: r.handler(), ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		r.heal()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	_, _ = fmt.Fprintf(stdout, "open %s/ to see what arrives\n", base)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	if err := <-stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}
