// Open MPI's mpirun: the command line that starts a world, and what it says when a process dies.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/launcher/worker_reports.h"

namespace thinwire::launch {

struct MpiWorld {
  int workers = 1;
  std::string hosts;                   // a hostfile; empty: this machine
  bool tcp = false;                    // over TCP on this machine too, not through shared memory
  bool tag_output = true;              // each line of a process carries its rank
  std::vector<std::string> forwarded;  // names of environment variables that every process gets
};

// mpirun with its options, up to the program to start.
std::vector<std::string> mpirun_command(const MpiWorld& world, bool is_root);

// A line of --tag-output: "[1,2]<stderr>:text".
struct TaggedLine {
  int rank = 0;
  std::string_view text;
};
std::optional<TaggedLine> parse_tagged(std::string_view line);

// A line that Open MPI's library puts on a process's standard error: "[host:1234] ...".
bool is_of_open_mpi(std::string_view line);

// Why mpirun failed, where no worker was to blame: our words, then what it said. how: "ended with exit code
// 1".
std::string failure_of_mpirun(const std::string& how, const std::vector<std::string>& said);

// Collects mpirun's own lines; its report of a death spans several.
class DeathNotice {
 public:
  void read(std::string_view line);
  // How the first process to die ended, in mpirun's words.
  const std::optional<WorkerEnd>& death() const { return death_; }

 private:
  int exited_rank_ = -1;  // named, exit code to come
  std::optional<WorkerEnd> death_;
};

}  // namespace thinwire::launch
