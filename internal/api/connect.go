package api

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// ConnectWithin is a context for one call that ends when there is no connection after limit.
// connected reports whether there has been one: TLS is done then, and the request on its way. end
// has to be called when the call is over.
func ConnectWithin(ctx context.Context, limit time.Duration) (
	limited context.Context, connected func() bool, end context.CancelFunc) {
	limited, cancel := context.WithCancel(ctx)
	var got atomic.Bool
	timer := time.AfterFunc(limit, func() {
		if !got.Load() {
			cancel()
		}
	})
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) }})
	return limited, got.Load, func() {
		timer.Stop()
		cancel()
	}
}
