package sim_test

import "testing"

func TestClusterForms(t *testing.T) {
	forSeeds(t, 1, 1, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}})
		defer w.net.Report(t)
		w.agree()
		w.end()
		for _, l := range w.net.Trace() {
			t.Log(l)
		}
	})
}
