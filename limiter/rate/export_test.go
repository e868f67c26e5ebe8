package rate

// Roles names the owner of a limit and its stand-in by a node's outlook.
func Roles(l *Limiter, id uint64, home string) (owner, backup string) {
	o := l.outlook(l.elapsed())
	a, b := o.owner(id, home)
	if a >= 0 {
		owner = o.nodes[a].id
	}
	if b >= 0 {
		backup = o.nodes[b].id
	}
	return owner, backup
}
