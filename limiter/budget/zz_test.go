package budget_test
import ("testing";"testing/synctest";"tollgate/config/unit")
func TestZZ(t *testing.T){ synctest.Test(t, func(t *testing.T){ lossyRun(t, 5371, 30, unit.Window{}, 370000000, 11)})}
