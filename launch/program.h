// The program: parses the command line, runs one command, turns what it throws into an exit code.
#pragma once

#include <string>
#include <vector>

namespace thinwire::launch {

// arguments: without the program's name. Returns 0 on success, 1 for a run that failed, 2 for a usage or
// config error. Results go to standard output, errors to standard error as "thinwire COMMAND: error: ...".
int run_program(const std::vector<std::string>& arguments);

}  // namespace thinwire::launch
