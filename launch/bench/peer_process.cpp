#include "launch/bench/peer_process.h"

#include <chrono>
#include <stdexcept>
#include <string_view>

#include "launch/launcher/child_process.h"

namespace thinwire::launch {

nlohmann::json run_peer(const std::vector<std::string>& command, const std::string& who) {
  std::string last, errors;
  ChildProcess child(command, {});
  const auto keep = [&](Stream stream, std::string_view line) {
    (stream == Stream::kOut ? last : errors) = line;
  };
  while (child.read_lines(std::chrono::hours(1), keep)) {
  }
  nlohmann::json result = nlohmann::json::parse(last, nullptr, false);
  if (child.wait() != 0 || !result.is_object()) throw std::runtime_error(who + ": " + errors);
  return result;
}

}  // namespace thinwire::launch
