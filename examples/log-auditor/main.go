// Checks a service vault's public audit log with torchwood, x/mod/sumdb and transparency-dev/merkle, and with nothing
// of the vault's own: checkpoint, cosignatures, tiles, root, consistency, and the proof of an entry.
//
//	go run . https://vault.example.com "$LOG_VKEY" proof.json [witness vkey]...
//
// LOG_VKEY is `log_vkey` of the signed offer, proof.json the answer of GET /api/v1/audit/{event_id}/proof.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
	return v
}

func check(what string, err error) {
	must(0, err)
	fmt.Println("ok  ", what)
}

func get(url string) []byte {
	r := must(http.Get(url))
	defer r.Body.Close()
	b := must(io.ReadAll(r.Body))
	if r.StatusCode != 200 {
		must(0, fmt.Errorf("%s: %s", url, r.Status))
	}
	return b
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: log-auditor <base URL> <log vkey> <proof file> [witness vkey]...")
		os.Exit(2)
	}
	base, vkey, proofFile, witnesses := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	log := must(note.NewVerifier(vkey))
	check("the vkey is one of x/mod/sumdb/note: "+log.Name(), nil)
	policies := []torchwood.Policy{torchwood.OriginPolicy(log.Name()), torchwood.SingleVerifierPolicy(log)}
	for _, w := range witnesses {
		v := must(torchwood.NewCosignatureVerifier(w))
		policies = append(policies, torchwood.SingleVerifierPolicy(v))
	}
	policy := torchwood.ThresholdPolicy(len(policies), policies...)

	signed := get(base + "/log/checkpoint")
	cp, n, err := torchwood.VerifyCheckpoint(signed, policy)
	check(fmt.Sprintf("checkpoint: %d leaves, %d of %d signatures by known keys", cp.N, len(n.Sigs), len(n.Sigs)+len(n.UnverifiedSigs)), err)
	for _, s := range n.Sigs {
		if t, err := torchwood.CosignatureTimestamp(s); err == nil && s.Hash != log.KeyHash() {
			fmt.Println("ok   cosigned by", s.Name, "at", t)
		}
	}

	// Tiles by the client's own path rules; it authenticates them against the root.
	fetcher := must(torchwood.NewTileFetcher(base + "/log"))
	hr := torchwood.TileHashReaderWithContext(context.Background(), cp.Tree, fetcher)
	var hashes []tlog.Hash
	for i := int64(0); i < cp.N; i++ {
		h := must(hr.ReadHashes([]int64{tlog.StoredHashIndex(0, i)}))
		hashes = append(hashes, h[0])
	}
	check(fmt.Sprintf("tiles: all %d leaf hashes read and authenticated", len(hashes)), nil)

	// The root again, by a third implementation.
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, h := range hashes {
		must(0, r.Append(h[:], nil))
	}
	root := must(r.GetRootHash(nil))
	if string(root) != string(cp.Hash[:]) {
		must(0, fmt.Errorf("transparency-dev/merkle computes another root"))
	}
	check("root: the same by transparency-dev/merkle", nil)
	for _, old := range []int64{1, cp.N / 2, cp.N} {
		if old < 1 {
			continue
		}
		oldRoot := must(tlog.TreeHash(old, hr))
		p := must(tlog.ProveTree(cp.N, old, hr))
		check(fmt.Sprintf("consistency of %d with %d", old, cp.N), tlog.CheckTree(p, cp.N, cp.Hash, old, oldRoot))
	}

	var answer struct {
		Proof     string `json:"proof"`
		Head      string `json:"head"`
		LeafIndex int64  `json:"leaf_index"`
	}
	must(0, json.Unmarshal(must(os.ReadFile(proofFile)), &answer))
	extra := must(torchwood.ProofExtraData([]byte(answer.Proof)))
	if len(extra) != 96 || base64.StdEncoding.EncodeToString(extra[64:]) != answer.Head {
		must(0, fmt.Errorf("the proof's extra does not open the head"))
	}
	leaf := sha256.Sum256(extra)
	logOnly := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(log.Name()), torchwood.SingleVerifierPolicy(log))
	check(fmt.Sprintf("tlog-proof: the opened leaf is entry %d", answer.LeafIndex),
		torchwood.VerifyProof(logOnly, tlog.RecordHash(leaf[:]), []byte(answer.Proof)))
	other := sha256.Sum256(extra[:95])
	if torchwood.VerifyProof(logOnly, tlog.RecordHash(other[:]), []byte(answer.Proof)) == nil {
		must(0, fmt.Errorf("the proof holds for another leaf"))
	}
	check("tlog-proof: refused for another leaf", nil)
	if tlog.RecordHash(leaf[:]) != hashes[answer.LeafIndex] {
		must(0, fmt.Errorf("the leaf is not in its tile"))
	}
	check("the leaf is the one in its tile", nil)
}
