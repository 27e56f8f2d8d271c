// A file of hosts for mpirun, one a line: "paris slots=2  # a comment".
#pragma once

#include <string>

namespace thinwire::launch {

// The file's absolute path, for a resume from another folder. Throws UsageError that names the file and the
// line that is no host, or what stands where a plain file was expected.
std::string checked_hosts_file(const std::string& path);

}  // namespace thinwire::launch
