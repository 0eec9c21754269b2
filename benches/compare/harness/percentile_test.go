package harness

import (
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	var times []time.Duration
	for n := 1; n <= 200; n++ {
		times = append(times, time.Duration(n)*time.Millisecond)
	}
	for percent, want := range map[int]float64{1: 2, 50: 100, 99: 198, 100: 200} {
		if got := percentile(times, percent); got != want {
			t.Errorf("%d: %v, not %v", percent, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
