package admin

// table lists every route: a further route is a further line.
func (a *Admin) table() map[string]map[string]handler {
	t := map[string]map[string]handler{}
	add := func(method string, h handler, paths ...string) {
		for _, p := range paths {
			if t[p] == nil {
				t[p] = map[string]handler{}
			}
			t[p][method] = h
		}
	}
	get := func(h handler, paths ...string) { add("GET", h, paths...) }
	post := func(h handler, paths ...string) { add("POST", h, paths...) }

	post(keyGenerate, "/key/generate")
	post(serviceAccountGenerate, "/key/service-account/generate")
	post(keyUpdate, "/key/update")
	post(keyDelete, "/key/delete")
	post(keyBlock(true), "/key/block")
	post(keyBlock(false), "/key/unblock")
	post(keyRegenerate, "/key/regenerate", "/key/{}/regenerate")
	post(keyResetSpend, "/key/{}/reset_spend")
	get(keyInfo, "/key/info")
	post(keyInfos, "/v2/key/info")
	get(keyList, "/key/list")
	get(keyAliases, "/key/aliases")

	post(userNew, "/user/new")
	get(userInfo, "/user/info")
	get(userOnly, "/v2/user/info")
	post(userUpdate, "/user/update")
	post(userDelete, "/user/delete")
	get(userList, "/user/list", "/user/get_users")
	get(userRoles, "/user/available_roles")

	post(teamNew, "/team/new")
	post(teamUpdate, "/team/update")
	get(teamInfo, "/team/info")
	get(teamList, "/team/list")
	get(teamPages, "/v2/team/list")
	post(teamDelete, "/team/delete")
	post(teamBlock(true), "/team/block")
	post(teamBlock(false), "/team/unblock")
	post(memberAdd, "/team/member_add")
	post(membersAdd, "/team/bulk_member_add")
	post(memberUpdate, "/team/member_update")
	post(memberDelete, "/team/member_delete")
	post(teamModels(true), "/team/model/add")
	post(teamModels(false), "/team/model/delete")

	get(healthHistory, "/health/history")
	get(healthLatest, "/health/latest")

	post(budgetNew, "/budget/new")
	post(budgetUpdate, "/budget/update")
	post(budgetInfo, "/budget/info")
	get(budgetList, "/budget/list")
	get(budgetSettings, "/budget/settings")
	post(budgetDelete, "/budget/delete")

	post(organizationNew, "/organization/new")
	add("PATCH", organizationUpdate, "/organization/update")
	add("DELETE", organizationDelete, "/organization/delete")
	get(organizationList, "/organization/list")
	get(organizationInfo, "/organization/info")
	post(orgMemberAdd, "/organization/member_add")
	add("PATCH", orgMemberUpdate, "/organization/member_update")
	add("DELETE", orgMemberDelete, "/organization/member_delete")

	post(tagNew, "/tag/new")
	post(tagUpdate, "/tag/update")
	post(tagInfo, "/tag/info")
	get(tagList, "/tag/list")
	post(tagDelete, "/tag/delete")

	for _, root := range []string{"/customer", "/end_user"} {
		post(customerNew, root+"/new")
		get(customerInfo, root+"/info")
		get(customerList, root+"/list")
		post(customerUpdate, root+"/update")
		post(customerDelete, root+"/delete")
		post(customerBlock(true), root+"/block")
		post(customerBlock(false), root+"/unblock")
	}
	post(customerBlock(true), "/user/block")
	post(customerBlock(false), "/user/unblock")

	get(modelInfo, "/model/info", "/v1/model/info")
	get(modelPages, "/v2/model/info")
	get(modelGroupInfo, "/model_group/info")
	post(modelNew, "/model/new")
	post(modelUpdate, "/model/update")
	add("PATCH", modelUpdate, "/model/{}/update")
	post(modelDelete, "/model/delete")

	get(spendLogs, "/spend/logs")
	get(spendLogPages, "/spend/logs/ui", "/spend/logs/v2")
	get(spendLogSession, "/spend/logs/session/ui")
	get(spendLogBodies, "/spend/logs/ui/{}")
	get(spendExport, "/spend/logs/export")
	get(spendVerify, "/spend/verify")
	get(spendKeys, "/spend/keys")
	get(spendUsers, "/spend/users")
	get(spendTags, "/spend/tags")
	post(spendCalculate, "/spend/calculate")
	get(globalSpend, "/global/spend")
	get(globalSpendLogs, "/global/spend/logs")
	get(globalSpendKeys, "/global/spend/keys")
	get(globalSpendModels, "/global/spend/models")
	get(globalSpendTeams, "/global/spend/teams")
	get(globalSpendTags, "/global/spend/tags")
	get(globalTagNames, "/global/spend/all_tag_names")
	get(globalSpendProviders, "/global/spend/provider")
	post(globalEndUsers, "/global/spend/end_users")
	post(globalReset, "/global/spend/reset")
	get(globalActivity, "/global/activity")
	get(globalActivityModels, "/global/activity/model")
	get(globalCacheHits, "/global/activity/cache_hits")
	get(globalExceptions, "/global/activity/exceptions")
	get(globalDeploymentExceptions, "/global/activity/exceptions/deployment")
	get(globalReport, "/global/spend/report")
	get(providerBudgets, "/provider/budgets")
	get(userActivity, "/user/daily/activity", "/user/daily/activity/aggregated")
	get(teamActivity, "/team/daily/activity", "/team/daily/activity/aggregated")
	get(tagActivity, "/tag/daily/activity", "/tag/daily/activity/aggregated")
	get(organizationActivity, "/organization/daily/activity", "/organization/daily/activity/aggregated")
	get(customerActivity, "/customer/daily/activity", "/customer/daily/activity/aggregated")

	get(auditLog, "/audit")
	get(auditRow, "/audit/{}")

	get(cachePing, "/cache/ping")
	post(cacheDelete, "/cache/delete")
	post(cacheFlush, "/cache/flushall")
	get(cacheRedisInfo, "/cache/redis/info")

	post(tokenCounter, "/utils/token_counter")
	get(explain, "/utils/explain")
	post(explain, "/utils/explain")
	return t
}
