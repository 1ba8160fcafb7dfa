#include <CUnit/CUnit.h>

#include "backup_net.h"

void backup_latest_tests(void)
{
}
