package keyring

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

func TestSmoke(t *testing.T) {
	s := secretservicetest.New(t)
	for _, kind := range []Kind{Keyring, Kernel} {
		st, err := Open(context.Background(), kind, System{Getenv: s.Getenv})
		if err != nil {
			t.Fatal(err)
		}
		key := "token:abc"
		_, err = st.Get(context.Background(), key)
		if !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		now := time.Now()
		for i := 0; i < 2; i++ {
			if err := st.Set(context.Background(), key, Entry{secret.New("hello"), now, now.Add(time.Hour)}); err != nil {
				t.Fatal(kind, err)
			}
			e, err := st.Get(context.Background(), key)
			if err != nil {
				t.Fatal(kind, err)
			}
			t.Log(e)
			t.Log(st.Keys(context.Background()))
		}
		if err := st.Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
		t.Log(st.Keys(context.Background()))
		if err := st.Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
}
