package prepare

import (
	"fmt"
	"slices"
	"sync"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

// fleet is what the contexts of one setup have in common, so that what does not differ between
// them is done once. A nil fleet is one context's.
type fleet struct {
	batch  *kubeconfig.Batch
	output []string
	// profiles are those that were there before, by their devices
	profiles func() (map[string][]profile.Profile, error)

	mutex sync.Mutex
	since []profile.Profile // that have been written
	memos map[string]*api.Memo
}

// has reports whether a context goes into the kubeconfig of all.
func (f *fleet) has(p *Preparation) bool {
	return f != nil && slices.Equal(p.options.Output, f.output)
}

// entriesOf are what will be merged. One that cannot be says so when it is prepared.
func (f *fleet) entriesOf(plans []*Preparation) (entries []kubeconfig.Entry) {
	for _, p := range plans {
		if p == nil || !f.has(p) {
			continue
		}
		if entry, err := p.entry(); err == nil {
			entries = append(entries, entry)
		}
	}
	return entries
}

// merge waits for others to be merged with.
func (f *fleet) merge(p *Preparation, entry *kubeconfig.Entry) (merged kubeconfig.Merged,
	err error) {
	p.hasMerged = true
	p.waiting(func() { merged, err = f.batch.Merge(entry) })
	return merged, err
}

// sharing is session.Sharing, of this process' own profiles and of those that were there before it.
func (f *fleet) sharing(h *host.Host, device string) ([]profile.Profile, error) {
	if f == nil {
		return session.Sharing(h, device)
	}
	before, err := f.profiles()
	if err != nil {
		return nil, err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return append(slices.Clone(before[device]), slices.DeleteFunc(slices.Clone(f.since),
		func(p profile.Profile) bool { return p.Device != device })...), nil
}

func (f *fleet) saved(p profile.Profile) {
	if f == nil {
		return
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.since = append(f.since, p)
}

// memoOf is what the contexts share that lead to one server with one user's credentials.
func (f *fleet) memoOf(found kubeconfig.Context) *api.Memo {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	key := fmt.Sprintf("%q %q %q %q", found.User, found.Cluster.Server,
		found.Cluster.TLSServerName, found.Cluster.ProxyURL) +
		string(found.Cluster.CertificateAuthorityData)
	if f.memos == nil {
		f.memos = map[string]*api.Memo{}
	}
	if f.memos[key] == nil {
		f.memos[key] = &api.Memo{}
	}
	return f.memos[key]
}
