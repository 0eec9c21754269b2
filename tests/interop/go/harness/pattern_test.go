package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// The values of README.md, computed by an independent program.
func TestMessage(t *testing.T) {
	for _, c := range []struct {
		seed, index uint64
		size        int
		want        string
	}{
		{0, 0, 20, "7a48219ae2b3830d679dfef1794cc454780e7a00"},
		{1, 0, 11, "5d6bb49c2232618010fe39"},
		{42, 3, 16, "df5c67e27dc749f1590e0e84cc464362"},
		{7046029254386353131, 0, 8, "7a48219ae2b3830d"},
		{1, 0, 0, ""},
	} {
		if got := hex.EncodeToString(Message(c.seed, c.index, c.size)); got != c.want {
			t.Errorf("Message(%d, %d, %d) = %s, want %s", c.seed, c.index, c.size, got, c.want)
		}
	}
	sum := sha256.Sum256(Message(7, 0, 100000))
	if got := hex.EncodeToString(sum[:]); got != "d7b01c8492760523d914a564fc249d28dbb622e8f6758a0d612202849164f849" {
		t.Errorf("100,000 bytes: %s", got)
	}
	if got := hex.EncodeToString(Numbered(1, 0x102, 9)); got[:16] != "0000000000000102" || len(got) != 18 {
		t.Errorf("Numbered = %s", got)
	}
}
