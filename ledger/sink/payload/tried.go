package payload

// attemptKey is a name that stands for what the gateway did, also where it is
// left out.
func attemptKey(k string) bool {
	switch k {
	case "attempted_retries", "attempted_fallbacks", "model_group", "tollgate_attempts":
		return true
	}
	return false
}
