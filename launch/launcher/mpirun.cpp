#include "launch/launcher/mpirun.h"

#include <charconv>
#include <regex>

namespace thinwire::launch {

std::vector<std::string> mpirun_command(const MpiWorld& world, bool is_root) {
  std::vector<std::string> command = {"mpirun", "-n", std::to_string(world.workers)};
  const auto add = [&command](std::initializer_list<const char*> words) {
    command.insert(command.end(), words.begin(), words.end());
  };
  if (is_root) add({"--allow-run-as-root"});
  if (world.tag_output) add({"--tag-output"});
  // More workers than cores are welcome: waits yield, and no worker is tied to a core.
  add({"--map-by", ":OVERSUBSCRIBE", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"});
  // ob1 over shared memory or TCP: a dead peer shows as a broken connection, and no fabric's library is
  // woken.
  add({"--mca", "pml", "ob1"});
  if (world.hosts.empty() && !world.tcp) {
    add({"--mca", "btl", "self,vader", "--mca", "btl_vader_single_copy_mechanism", "none"});
  } else {
    add({"--mca", "btl", "self,tcp"});
  }
  if (!world.hosts.empty()) add({"--hostfile", world.hosts.c_str()});
  for (const std::string& name : world.forwarded) add({"-x", name.c_str()});
  return command;
}

std::optional<TaggedLine> parse_tagged(std::string_view line) {
  if (!line.starts_with('[')) return std::nullopt;
  const auto comma = line.find(',');
  const auto bracket = line.find("]<std");
  if (comma == std::string_view::npos || bracket == std::string_view::npos || bracket < comma)
    return std::nullopt;
  const auto colon = line.find(">:", bracket);
  TaggedLine tagged;
  const char* end = line.data() + bracket;
  const auto parsed = std::from_chars(line.data() + comma + 1, end, tagged.rank);
  if (colon == std::string_view::npos || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  tagged.text = line.substr(colon + 2);
  return tagged;
}

void DeathNotice::read(std::string_view line) {
  static const std::regex signalled(
      R"(process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+))");
  static const std::regex exited(R"(Process name: \[\[\d+,\d+\],(\d+)\])");
  static const std::regex code(R"(Exit code:\s+(\d+))");
  if (death_) return;
  const std::string text(line);
  std::smatch match;
  if (std::regex_search(text, match, signalled)) {
    death_ = WorkerEnd{.rank = std::stoi(match[1]), .host = match[2], .signal = std::stoi(match[3])};
  } else if (std::regex_search(text, match, exited)) {
    exited_rank_ = std::stoi(match[1]);
  } else if (exited_rank_ >= 0 && std::regex_search(text, match, code)) {
    death_ = WorkerEnd{.rank = exited_rank_, .host = {}, .exit_code = std::stoi(match[1])};
  }
}

}  // namespace thinwire::launch
