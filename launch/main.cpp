#include <string>
#include <vector>

#include "launch/compute_settings.h"
#include "launch/program.h"

int main(int argc, char** argv) {
  thinwire::launch::settle_arithmetic();
  return thinwire::launch::run_program(std::vector<std::string>(argv + 1, argv + argc));
}
