/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The module record: directives and hooks, nothing else. What the hooks do is in src/httpd.
 */

#include "sc_httpd.h"

#include "mpm_common.h"

static void register_hooks(apr_pool_t *p)
{
    ap_hook_pre_config(sc_config_reset, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(sc_config_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(sc_process_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(sc_process_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(sc_process_monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_error_log(sc_process_log_written, NULL, NULL, APR_HOOK_MIDDLE);
    sc_status_register(p);
    sc_provider_register(p);
    sc_balancer_register(p);
    sc_api_register(p);
}

AP_DECLARE_MODULE(session_cluster) = {
    STANDARD20_MODULE_STUFF, sc_config_create_dir, sc_config_merge_dir, NULL, NULL,
    sc_directives,           register_hooks,       AP_MODULE_FLAG_NONE,
};
