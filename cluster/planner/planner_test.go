package planner_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/planner"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// node makes a member that is well and has been for an hour.
func node(id, region string, opts ...func(*planner.Node)) planner.Node {
	n := planner.Node{ID: id, Region: region, Known: true, Member: true, Alive: true, Since: now.Add(-time.Hour), Contact: now}
	for _, o := range opts {
		o(&n)
	}
	return n
}

func voter(n *planner.Node)    { n.Voter = true }
func leader(n *planner.Node)   { n.Voter, n.Leader = true, true }
func witness(n *planner.Node)  { n.Witness = true }
func unknown(n *planner.Node)  { n.Known, n.Contact = false, time.Time{} }
func draining(n *planner.Node) { n.Draining = true }
func taken(n *planner.Node)    { n.Member = false }

func zone(z string) func(*planner.Node) { return func(n *planner.Node) { n.Zone = z } }
func lag(entries uint64) func(*planner.Node) {
	return func(n *planner.Node) { n.Lag = entries }
}
func since(d time.Duration) func(*planner.Node) {
	return func(n *planner.Node) { n.Since = now.Add(-d) }
}
func heard(d time.Duration) func(*planner.Node) {
	return func(n *planner.Node) { n.Contact = now.Add(-d) }
}

// silent is a node that nobody has heard of for d.
func silent(d time.Duration) func(*planner.Node) {
	return func(n *planner.Node) { n.Alive, n.Since, n.Contact = false, now.Add(-d), now.Add(-d) }
}

func input(nodes ...planner.Node) planner.Input {
	return planner.Input{Nodes: nodes, Now: now, LeaderSince: now.Add(-time.Hour), Stable: 15 * time.Second, Reached: true}
}

func with(in planner.Input, f func(*planner.Input)) planner.Input {
	f(&in)
	return in
}

func TestPlan(t *testing.T) {
	type want struct {
		kind planner.Kind
		id   string
	}
	none := want{}
	three := []planner.Node{node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter)}
	and := func(more ...planner.Node) planner.Input {
		return input(append(append([]planner.Node{}, three...), more...)...)
	}
	for claim, c := range map[string]struct {
		in   planner.Input
		want want
	}{
		"who does not lead plans nothing":               {input(node("a", "eu", voter), node("b", "eu", unknown)), none},
		"a cluster of one is left alone":                {input(node("a", "eu", leader)), none},
		"the only voter does not go without an heir":    {input(node("a", "eu", leader, draining), node("b", "us", since(time.Second))), want{planner.Promote, "b"}},
		"its heir must be within reach":                 {input(node("a", "eu", leader, draining), node("b", "us", silent(time.Minute))), none},
		"it then hands leadership over":                 {input(node("a", "eu", leader, draining), node("b", "us", voter)), want{planner.Transfer, "b"}},
		"and gives up its vote":                         {input(node("a", "eu", voter, draining), node("b", "us", leader)), want{planner.Demote, "a"}},
		"a new member is added at once":                 {input(node("a", "eu", leader), node("b", "eu", unknown, since(0))), want{planner.AddNonvoter, "b"}},
		"a new member that is silent is not added":      {input(node("a", "eu", leader), node("b", "eu", unknown, silent(time.Second))), none},
		"two nodes have one voter":                      {input(node("a", "eu", leader), node("b", "eu")), none},
		"two voters of two nodes become one":            {input(node("a", "eu", leader), node("b", "eu", voter)), want{planner.Demote, "b"}},
		"three nodes begin to have three voters":        {input(node("a", "eu", leader), node("b", "eu"), node("c", "eu")), want{planner.Promote, "b"}},
		"growth does not begin with one spare":          {input(node("a", "eu", leader), node("b", "eu"), node("c", "eu", silent(time.Second))), none},
		"growth is completed":                           {input(node("a", "eu", leader), node("b", "eu", voter), node("c", "eu")), want{planner.Promote, "c"}},
		"an even number waits for a node coming up":     {input(node("a", "eu", leader), node("b", "eu", voter), node("c", "eu", lag(5000))), none},
		"an even number nobody completes shrinks":       {input(node("a", "eu", leader), node("b", "eu", voter), node("c", "eu", silent(time.Hour))), want{planner.Demote, "b"}},
		"seven nodes of two regions have three voters":  {input(node("a", "eu", leader), node("b", "us", voter), node("c", "eu", voter), node("d", "eu"), node("e", "us"), node("f", "eu"), node("g", "us")), none},
		"seven nodes of three regions have five voters": {and(node("d", "eu"), node("e", "us"), node("f", "ap"), node("g", "us")), want{planner.Promote, "d"}},
		"the setting overrides":                         {with(and(node("d", "eu"), node("e", "us")), func(in *planner.Input) { in.Voters = 5 }), want{planner.Promote, "d"}},
		"the setting asks for fewer":                    {with(and(), func(in *planner.Input) { in.Voters = 1 }), want{planner.Demote, "c"}},
		"more voters than nodes are not asked for":      {with(and(node("d", "eu")), func(in *planner.Input) { in.Voters = 5 }), none},

		"one that lags is not promoted":                {input(node("a", "eu", leader), node("b", "eu", lag(1001)), node("c", "eu", lag(1001))), none},
		"one not heard of is not promoted":             {input(node("a", "eu", leader), node("b", "eu", heard(3*time.Second)), node("c", "eu", heard(3*time.Second))), none},
		"one that drains is not promoted":              {input(node("a", "eu", leader), node("b", "eu", draining), node("c", "eu")), none},
		"one that came up just now is not promoted":    {and(node("d", "eu"), node("e", "us", since(10*time.Second)), node("f", "ap", since(14*time.Second)), node("g", "us", since(time.Second))), none},
		"at first three seconds are stable enough":     {with(input(node("a", "eu", leader), node("b", "eu", since(3*time.Second)), node("c", "eu", since(4*time.Second))), func(in *planner.Input) { in.Reached = false }), want{planner.Promote, "c"}},
		"at first less is not":                         {with(input(node("a", "eu", leader), node("b", "eu", since(3*time.Second)), node("c", "eu", since(2*time.Second))), func(in *planner.Input) { in.Reached = false }), none},
		"after an election stability is not asked for": {with(input(node("a", "eu", leader), node("b", "eu", since(time.Second)), node("c", "eu", since(time.Second))), func(in *planner.Input) { in.LeaderSince = now.Add(-5 * time.Second) }), want{planner.Promote, "b"}},

		"a new region goes first":                      {input(node("a", "eu", leader), node("b", "eu"), node("c", "us")), want{planner.Promote, "c"}},
		"a new zone goes before an old one":            {input(node("a", "eu", leader, zone("1")), node("b", "eu", zone("1")), node("c", "eu", zone("2"))), want{planner.Promote, "c"}},
		"then the longest alive":                       {input(node("a", "eu", leader), node("b", "eu"), node("c", "eu", since(2*time.Hour))), want{planner.Promote, "c"}},
		"a witness in a region of its own goes first":  {input(node("a", "eu", leader), node("b", "us"), node("c", "us"), node("w", "ap", witness)), want{planner.Promote, "w"}},
		"a witness among others goes last":             {input(node("a", "eu", leader), node("b", "eu"), node("c", "eu"), node("0", "eu", witness)), want{planner.Promote, "b"}},
		"a better spread is reached by promoting":      {input(node("a", "eu", leader), node("b", "eu", voter), node("c", "us", voter), node("d", "ap")), want{planner.Promote, "d"}},
		"and then demoting where there are two":        {input(node("a", "eu", leader), node("b", "eu", voter), node("c", "us", voter), node("d", "ap", voter)), want{planner.Demote, "b"}},
		"an equal spread is left alone":                {and(node("d", "ap", since(1000*time.Hour))), none},
		"no swap while a voter is silent":              {input(node("a", "eu", leader), node("b", "eu", voter, silent(3*time.Second)), node("c", "us", voter), node("d", "ap")), none},
		"no demotion while a voter is silent":          {input(node("a", "eu", leader), node("b", "eu", voter), node("c", "us", voter, silent(3*time.Second)), node("d", "ap", voter)), none},
		"the leader keeps its vote":                    {input(node("a", "eu", leader, draining, since(time.Second)), node("b", "eu", voter, draining, lag(5000))), want{planner.Demote, "b"}},
		"raft's word counts where gossip is disturbed": {and(node("d", "ap")), none},

		"a silent voter is given time":                {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, silent(29*time.Second)), node("d", "ap")), none},
		"odd: the dead voter goes first":              {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, silent(31*time.Second)), node("d", "ap")), want{planner.Demote, "c"}},
		"then the spare comes":                        {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", silent(31*time.Second)), node("d", "ap")), want{planner.Promote, "d"}},
		"even: the spare comes first":                 {with(input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter), node("d", "eu", voter, silent(31*time.Second)), node("e", "us")), func(in *planner.Input) { in.Voters = 5 }), want{planner.Promote, "e"}},
		"a dead voter stays without a spare":          {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, silent(time.Hour))), none},
		"a dead voter stays when the spare is new":    {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, silent(time.Hour)), node("d", "ap", since(time.Second))), none},
		"dead to raft is dead":                        {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, heard(31*time.Second)), node("d", "ap")), want{planner.Demote, "c"}},
		"a new leader has not listened for long":      {with(input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, heard(31*time.Second)), node("d", "ap")), func(in *planner.Input) { in.LeaderSince = now.Add(-20 * time.Second) }), none},
		"one never met is given time by a new leader": {with(input(node("a", "eu", leader), node("b", "us", voter), planner.Node{ID: "c", Region: "ap", Known: true, Voter: true, Member: true}, node("d", "ap")), func(in *planner.Input) { in.LeaderSince = now.Add(-20 * time.Second) }), none},
		"but not for ever":                            {input(node("a", "eu", leader), node("b", "us", voter), planner.Node{ID: "c", Region: "ap", Known: true, Voter: true, Member: true}, node("d", "ap")), want{planner.Demote, "c"}},
		"dead to gossip alone is not dead":            {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, silent(time.Hour), heard(0)), node("d", "ap")), none},
		"without a majority nothing is planned":       {input(node("a", "eu", leader), node("b", "us", voter, silent(time.Hour)), node("c", "ap", voter, silent(time.Hour)), node("d", "ap"), node("e", "ap", unknown)), none},
		"never below a majority of the well":          {input(node("a", "eu", leader), node("b", "us", voter, silent(3*time.Second)), node("c", "ap", voter, taken)), none},

		"what is no member is removed from raft":    {and(node("d", "ap", taken, silent(time.Hour))), want{planner.Remove, "d"}},
		"a voter that is no member loses its vote":  {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, taken)), want{planner.Demote, "c"}},
		"a removed voter is replaced":               {input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", taken), node("d", "ap")), want{planner.Remove, "c"}},
		"who left goes even if one is dead":         {input(node("a", "eu", leader), node("b", "us", voter, silent(time.Hour)), node("c", "ap", voter, taken), node("d", "ap", draining), node("e", "us", draining)), want{planner.Demote, "b"}},
		"a draining leader hands over":              {input(node("a", "eu", leader, draining), node("b", "us", voter, lag(2000)), node("c", "ap", voter)), want{planner.Transfer, "c"}},
		"a removed leader hands over":               {input(node("a", "eu", leader, taken), node("b", "us", voter, since(2*time.Hour)), node("c", "us", voter), node("d", "ap")), want{planner.Transfer, "b"}},
		"a draining leader spares the witness":      {input(node("a", "eu", leader, draining), node("b", "us", voter, witness), node("c", "ap", voter)), want{planner.Transfer, "c"}},
		"a draining leader alone goes on":           {input(node("a", "eu", leader, draining)), none},
		"leadership moves to the preferred region":  {with(and(), func(in *planner.Input) { in.PreferRegion = "ap" }), want{planner.Transfer, "c"}},
		"but not to one alive for less than 60 s":   {with(input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, since(59*time.Second))), func(in *planner.Input) { in.PreferRegion = "ap" }), none},
		"nor twice in ten minutes":                  {with(and(), func(in *planner.Input) { in.PreferRegion, in.LastTransfer = "ap", now.Add(-9*time.Minute) }), none},
		"nor right after an election":               {with(and(), func(in *planner.Input) { in.PreferRegion, in.LeaderSince = "ap", now.Add(-50*time.Second) }), none},
		"nor to one that drains":                    {with(input(node("a", "eu", leader), node("b", "us", voter), node("c", "ap", voter, draining)), func(in *planner.Input) { in.PreferRegion = "ap" }), none},
		"nor within the preferred region":           {with(and(), func(in *planner.Input) { in.PreferRegion = "eu" }), none},
		"nor to a witness":                          {with(input(node("a", "eu", leader), node("b", "us", voter), node("w", "ap", voter, witness)), func(in *planner.Input) { in.PreferRegion = "ap" }), none},
		"a witness that leads hands over":           {input(node("a", "eu", voter), node("b", "us", voter), node("w", "ap", leader, witness)), want{planner.Transfer, "a"}},
		"membership comes before leader preference": {with(and(node("d", "ap", unknown)), func(in *planner.Input) { in.PreferRegion = "ap" }), want{planner.AddNonvoter, "d"}},
	} {
		t.Run(claim, func(t *testing.T) {
			got, ok := planner.Plan(c.in)
			require.Equal(t, c.want, want{got.Kind, got.ID}, got.Why)
			require.Equal(t, c.want != none, ok)
			require.Equal(t, ok, got.Why != "")
		})
	}
}

func TestDesiredVotersAreOddAndNoMoreThanMembers(t *testing.T) {
	for setting := range 7 {
		for n := 1; n < 12; n++ {
			var nodes []planner.Node
			for i := range n {
				nodes = append(nodes, node(string(rune('a'+i)), []string{"eu", "us", "ap"}[i%3]))
			}
			d := planner.Desired(nodes, setting)
			require.Equal(t, 1, d%2)
			require.LessOrEqual(t, d, n)
			if setting > 0 {
				require.LessOrEqual(t, d, setting)
			}
		}
	}
}
