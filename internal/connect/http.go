package connect

import (
	"net/http"
	"sync"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// HTTPClient is client-go's for config, but for a transport without HTTP/2: one call a connection
// gains nothing from it, its debug log would print the Authorization header, and it is a tenth of
// the program.
func HTTPClient(config *rest.Config) (*http.Client, error) {
	c := rest.CopyConfig(config)
	c.NextProtos = []string{"http/1.1"}
	settings, err := c.TransportConfig()
	if err != nil {
		return nil, err
	}
	next := settings.Transport
	if next == nil {
		if next, err = transports.find(settings); err != nil {
			return nil, err
		}
	}
	wrapped, err := transport.HTTPWrappersForConfig(settings, next)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: wrapped, Timeout: config.Timeout, CheckRedirect: notFollowed}, nil
}

// A redirect is never followed: the round tripper would add the credential for whatever host it
// names.
func notFollowed(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// shared are transports by what their connections are made with. Clients that differ only in their
// credential share connections.
type shared struct {
	mutex sync.Mutex
	known map[shareKey]http.RoundTripper
}

var transports = shared{known: map[shareKey]http.RoundTripper{}}

type shareKey struct {
	insecure                     bool
	name, ca, caFile             string
	cert, certFile, key, keyFile string
}

func (s *shared) find(settings *transport.Config) (http.RoundTripper, error) {
	if settings.Proxy != nil || settings.DialHolder != nil { // a function equals no other
		return newTransport(settings)
	}
	t := settings.TLS
	key := shareKey{insecure: t.Insecure, name: t.ServerName, ca: string(t.CAData),
		caFile: t.CAFile, cert: string(t.CertData), certFile: t.CertFile,
		key: string(t.KeyData), keyFile: t.KeyFile}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if found := s.known[key]; found != nil {
		return found, nil
	}
	found, err := newTransport(settings)
	if err == nil {
		s.known[key] = found
	}
	return found, err
}

func newTransport(settings *transport.Config) (http.RoundTripper, error) {
	tlsConfig, err := transport.TLSConfigFor(settings)
	if err != nil {
		return nil, err
	}
	made := utilnet.SetOldTransportDefaults(&http.Transport{TLSClientConfig: tlsConfig,
		Proxy: settings.Proxy, OnProxyConnectResponse: api.CheckProxy})
	if settings.DialHolder != nil {
		made.DialContext = settings.DialHolder.Dial
	}
	return made, nil
}
