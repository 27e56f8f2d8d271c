// How a command fails, as types; launch/program.cpp turns them into exit codes.
#pragma once

#include <stdexcept>
#include <string>

namespace thinwire::launch {

enum ExitCode { kSuccess = 0, kRunFailed = 1, kUsage = 2 };

// The command line asks for something that cannot be: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A worker broke the job: which one, how, and what it said.
class JobFailed : public std::runtime_error {
 public:
  explicit JobFailed(const std::string& what, int exit_code = kRunFailed)
      : std::runtime_error(what), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

}  // namespace thinwire::launch
