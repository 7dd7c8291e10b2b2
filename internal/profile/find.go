package profile

import (
	"errors"
	"os"
	"slices"
)

// Found are the profiles of a server, each list sorted by name.
type Found struct {
	Fitting []Profile // of the cluster
	Near    []Profile // of its server, with other certificate authorities
	Broken  []string  // those that cannot be read, which may be of the cluster; only where none fits
}

// ForCluster finds the profiles whose cluster has no Difference to c. It is an ErrCluster when c
// describes none, and an ErrUnreadable or files.ErrUntrusted when the directory is not to be read.
//
// A profile that was edited in place, without any other change of the directory, is found where it
// was before or where nothing else fits.
func (f Dir) ForCluster(c Cluster) (Found, error) {
	identity, err := c.Identity()
	if err != nil {
		return Found{}, err
	}
	dir, err := os.Stat(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return Found{}, nil
	}
	if err != nil {
		return Found{}, notListed(err)
	}
	if err := f.check(); err != nil {
		return Found{}, err
	}
	key, known := indexKey(identity), f.readIndex()
	if known.isOf(dir) {
		if found, isRight := f.listed(known.names(key), c); isRight && len(found.Fitting) > 0 {
			return found, nil
		}
		known = index{} // it may be wrong in everything
	}
	for {
		made, err := f.reindex(known)
		if err != nil {
			return Found{}, err
		}
		found, _ := f.listed(made.names(key), c)
		if len(found.Fitting) > 0 {
			return found, nil
		}
		if len(known.text) == 0 {
			found.Broken = made.names(noKey)
			return found, nil
		}
		known = index{}
	}
}

// listed reads profiles of an index. It is not right when one of them is not what the index says.
func (f Dir) listed(names []string, c Cluster) (found Found, isRight bool) {
	isRight = true
	slices.Sort(names)
	for _, name := range names {
		p, err := f.Load(name)
		switch {
		case err != nil:
			isRight = false
		case c.Difference(p.Cluster) == nil:
			found.Fitting = append(found.Fitting, p)
		default:
			found.Near = append(found.Near, p)
			isRight = isRight && sameServer(c, p.Cluster)
		}
	}
	return found, isRight
}

// sameServer reports whether clusters differ in their authorities alone.
func sameServer(c, other Cluster) bool {
	c.CertificateAuthorityData, other.CertificateAuthorityData = nil, nil
	return c.Difference(other) == nil
}
