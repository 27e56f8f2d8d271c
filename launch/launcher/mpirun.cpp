#include "launch/launcher/mpirun.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <regex>

namespace thinwire::launch {
namespace {

constexpr std::size_t kMostShown = 30;

bool any_has(const std::vector<std::string>& lines, std::string_view part) {
  return std::any_of(lines.begin(), lines.end(),
                     [part](const std::string& line) { return line.find(part) != std::string::npos; });
}

// What to look at, as far as its words tell.
std::string advice_for(const std::vector<std::string>& said) {
  if (any_has(said, "not enough slots")) return "the hosts file has fewer slots than workers were asked for";
  if (any_has(said, "PermissionDenied") || any_has(said, "Permission denied") || any_has(said, "ssh") ||
      any_has(said, "daemon") || any_has(said, "resolve"))
    return "look whether each host of the hosts file answers `ssh HOST true` without a password, and has "
           "Open MPI "
           "and this program at the same paths";
  if (any_has(said, "unable to launch") || any_has(said, "could not access"))
    return "look whether the program stands at the same path on every host";
  return "look at the hosts, and whether `mpirun -n 2 true` works there";
}

// Without its rules and empty lines.
std::vector<std::string> with_words(const std::vector<std::string>& said) {
  std::vector<std::string> lines;
  for (const std::string& line : said) {
    if (line.find_first_not_of("-* \t") != std::string::npos) lines.push_back(line);
  }
  return lines;
}

}  // namespace

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

bool is_of_open_mpi(std::string_view line) {
  static const std::regex form(R"(^\[[^\]\s]+:\d+\] .*)");
  return std::regex_match(line.begin(), line.end(), form);
}

std::string failure_of_mpirun(const std::string& how, const std::vector<std::string>& said) {
  std::string text =
      fmt::format("mpirun did not bring the workers up or lost them, and {}; {}", how, advice_for(said));
  const std::vector<std::string> lines = with_words(said);
  if (lines.empty()) return text;
  text += "\nmpirun said:";
  for (std::size_t i = 0; i < std::min(lines.size(), kMostShown); ++i) text += "\n  " + lines[i];
  if (lines.size() > kMostShown) text += fmt::format("\n  ... and {} lines more", lines.size() - kMostShown);
  return text;
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
