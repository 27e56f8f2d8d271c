#include "launch/config/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "launch/config/nearest.h"

namespace thinwire::launch {

std::string limit_text(double limit) {
  return fmt::format("{}", limit);
}

Check<std::string> one_of(std::vector<std::string> names) {
  const std::string words = "one of " + joined(names);
  return {words, [words, names = std::move(names)](const std::string& value) -> std::string {
            if (std::find(names.begin(), names.end(), value) != names.end()) return {};
            const std::string slip = suggestion(value, names);
            return fmt::format("expected {}{}", words,
                               slip.empty() ? "" : fmt::format(" (nearest: {})", slip));
          }};
}

Check<std::string> parsed_by(std::string words, std::function<void(const std::string&)> parse) {
  return {words, [words, parse = std::move(parse)](const std::string& value) -> std::string {
            try {
              parse(value);
              return {};
            } catch (const std::exception& error) {
              return fmt::format("expected {}: {}", words, error.what());
            }
          }};
}

}  // namespace thinwire::launch
