package authz

import (
	"encoding/json"
	"sync"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Shelf holds what policies say and said, by its Digest: what is in force as long as it is, and of what was before the
// newest, as far as there is room. It is safe for concurrent use.
type Shelf struct {
	most int // bytes of what is in force no more

	mu    sync.RWMutex
	said  map[string]*volume
	now   map[string]string // the digest of each policy, by key
	past  []string          // digests that no policy has now, the oldest first
	bytes int               // of these
}

type volume struct {
	says *v1alpha1.Authorization
	size int
	by   int // policies that say it now
}

// NewShelf returns one with room for so many bytes of what is in force no more.
func NewShelf(bytes int) *Shelf {
	return &Shelf{most: bytes, said: map[string]*volume{}, now: map[string]string{}}
}

// Set notes what a policy says; nil: nothing, or it is gone.
func (s *Shelf) Set(key string, says *v1alpha1.Authorization) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, had := s.now[key]
	digest := ""
	if says != nil {
		digest = Digest(says)
	}
	if had && before == digest {
		return
	}
	if delete(s.now, key); says != nil {
		s.now[key] = digest
		s.take(digest, says)
	}
	if had {
		s.retire(before)
	}
}

func (s *Shelf) take(digest string, says *v1alpha1.Authorization) {
	v := s.said[digest]
	if v == nil {
		text, err := json.Marshal(says)
		if err != nil {
			panic(err) // it is plain data
		}
		v = &volume{says: says.DeepCopy(), size: len(text)}
		s.said[digest] = v
	} else if v.by == 0 {
		s.forget(digest)
	}
	v.by++
}

// forget takes a digest from those of the past.
func (s *Shelf) forget(digest string) {
	for i, d := range s.past {
		if d == digest {
			s.past, s.bytes = append(s.past[:i:i], s.past[i+1:]...), s.bytes-s.said[d].size
			return
		}
	}
}

func (s *Shelf) retire(digest string) {
	v := s.said[digest]
	if v.by--; v.by > 0 {
		return
	}
	s.past, s.bytes = append(s.past, digest), s.bytes+v.size
	for s.bytes > s.most {
		oldest := s.past[0]
		s.past, s.bytes = s.past[1:], s.bytes-s.said[oldest].size
		delete(s.said, oldest)
	}
}

// Get is what a digest stands for; nil: it is not known, or not any more. It is not to be changed.
func (s *Shelf) Get(digest string) *v1alpha1.Authorization {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if v := s.said[digest]; v != nil {
		return v.says
	}
	return nil
}

// All are those of some digests that are known.
func (s *Shelf) All(digests []string) map[string]*v1alpha1.Authorization {
	out := map[string]*v1alpha1.Authorization{}
	for _, d := range digests {
		if says := s.Get(d); says != nil {
			out[d] = says
		}
	}
	return out
}
