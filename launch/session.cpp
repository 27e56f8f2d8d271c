#include "launch/session.h"

#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "launch/compute_settings.h"
#include "launch/world.h"

namespace thinwire::launch {
namespace {

std::string variable(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : value;
}

double positive_number(const char* name, double fallback) {
  const std::string text = variable(name, "");
  if (text.empty()) return fallback;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end != text.c_str() + text.size() || !(value > 0)) {
    throw std::invalid_argument(fmt::format("{}: expected a number above 0, found \"{}\"", name, text));
  }
  return value;
}

}  // namespace

Session Session::from_environment() {
  settle_arithmetic();
  WorldOptions options;
  options.backend = joined_backend(variable("THINWIRE_BACKEND", "threads"));
  options.link = variable("THINWIRE_LINK", options.link);
  options.timeout_s = positive_number("THINWIRE_TIMEOUT_S", options.timeout_s);
  options.grpc = surrounding_grpc();
  auto engine = join_world(options);
  require_size(options.backend, engine->size());
  return Session(std::move(engine));
}

}  // namespace thinwire::launch
