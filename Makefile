# Everything a developer, an operator who tries it, or a continuous build asks for. Paths are relative: the checkout may
# lie anywhere, and its name may have blanks.
include version.mk

PYTHON = .state/venv/bin/python
# The set-up and the lab are started by the distribution's Python, so that they can repair everything else. A machine
# without it has nothing of ours that runs.
# `exec`: each ends when make is killed, and would not notice that below a shell.
LAB = exec env LAB_PARENT=$$PPID PYTHONPATH=src /usr/bin/python3 -m lab
# One demo of a checkout at a time, from its set-up on.
ALONE = . tools/demo-lock
# A build of many programs, all of which end when make is ended.
TOGETHER = exec tools/end-together nice
# Runs a program with its own mounts, processes, network and /tmp, all of which end with it.
# Without cached bytecode, each worker would take twice as long to import the tests.
ISOLATED = exec env LAB_PARENT=$$PPID PYTHONPATH=src $(PYTHON) -m lab.isolation env -u PYTHONPATH -u PYTHONDONTWRITEBYTECODE
MACHINES = PYTHONPATH="$(CURDIR):$(CURDIR)/src" /usr/bin/python3 -m lab.machines
CHECKED = src lab tests bench roll
PYTEST = $(PYTHON) -m pytest
# More workers than processors: many tests wait for daemons. The order of units is that of tests/work_units.py.
WORKERS = 5
EXAMPLES = 20
PARALLEL = -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-cluster demo-stop guest-image test-guests test test-nucleus-api test-oidc test-clients test-browser api-changes test-random check lint bench paper mutants agent packages test-packages frontend-iso installer \
  test-installer reference requirements clean new-command os-roll test-os-roll roll reroll profile deb rpm lab lab-stop lab-demo test-lab test-lab-long comet-wheel

$(PYTHON):
	@echo 'this checkout has no Python environment yet: run make setup (as root, on Debian 12 or 13), then repeat the command' >&2; exit 1

help: ## list these targets
	@echo '$(ROLLNAME) $(VERSION): user-managed virtual clusters'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 25

setup: ## install what the checks, tests and bench need; other targets install more themselves (root; Debian 12 or 13)
	@tools/setup test

demo: ## from an empty machine to a virtual machine that reports its name (root)
	@$(ALONE) && tools/setup demo && \
	{ tools/browser-libraries .state/browser || echo "  without them, browsers show no consoles and plots of the demo's machines; all else works"; } && \
	$(LAB) demo

.PHONY: demo-day
demo-day: ## an owner's day on the demo's site by comet, and the published interface's 34 requests; each with its answer (root; 3 minutes)
	@$(ALONE) && $(MAKE) --no-print-directory demo && exec setpriv --pdeathsig TERM tools/end-together tools/owner-day

demo-cluster: ## the demo's site, and on it a cluster of Debian machines that answers by SSH (root; minutes under emulation)
	@$(ALONE) && $(MAKE) --no-print-directory guest-image && $(LAB) demo-cluster

.PHONY: demo-slurm
demo-slurm: ## the demo's site, and on it a Slurm: a computeset waits behind a batch job, runs, ends, and is charged; Slurm ends (root; 5 minutes)
	@$(ALONE) && tools/setup slurm && $(MAKE) --no-print-directory demo && $(LAB) demo-slurm

.PHONY: demo-pragma
demo-pragma: ## the demo's site, and on it a cluster in PRAGMA's form: from a web server, booted, used by SSH and MPI, removed (root; minutes)
	@$(ALONE) && $(MAKE) --no-print-directory guest-image $(FOR_LAUNCHERS) && $(LAB) demo-pragma

# What the examples of launchers need in their machines.
FOR_LAUNCHERS = GUEST=launchers PACKAGES=openmpi-bin,libopenmpi-dev,gcc,libc6-dev,autodock-vina

.PHONY: demo-launch
demo-launch: ## the demo's site, and on it `comet launch` of MPI and of docking, on a compute that answers by SSH (root; minutes)
	@$(ALONE) && tools/setup test && $(MAKE) --no-print-directory guest-image $(FOR_LAUNCHERS) && $(LAB) demo-launch

# An ISO that is there stays; `make frontend-iso`, `make os-roll` and `make mpi-roll` build them anew.
.PHONY: demo-own-cluster
demo-own-cluster: ## the demo's site, and on it a cluster that its owner installs with this roll's ISOs, and runs MPI on (root; an hour)
	@$(ALONE) && $(MAKE) --no-print-directory guest-image && \
	for part in rocks-frontend:frontend-iso os:os-roll mpi:mpi-roll; do \
	  [ -n "$$(find dist -maxdepth 1 -name "$${part%:*}-[0-9]*.iso" 2>/dev/null)" ] || $(MAKE) --no-print-directory "$${part#*:}" || exit 1; \
	done && $(LAB) demo-own-cluster

.PHONY: demo-fai
demo-fai: ## the demo's site, and on it a cluster whose computes its owner installs by FAI from one ISO, and runs MPI on (root; 25 minutes)
	@$(ALONE) && $(MAKE) --no-print-directory guest-image && $(LAB) demo-fai

# What tools/paper-hardware needs in its machines; Debian's kernel for clouds has no RDMA.
FOR_HARDWARE = GUEST=hardware PACKAGES=linux-image-amd64,openmpi-bin,perftest,quantum-espresso,quantum-espresso-data,rdma-core

GUEST = debian
PACKAGES =
guest-image: ## build an image of Debian for virtual machines in .state/guest/debian, unless it is there (root)
	@tools/setup guest
	@mkdir -p .state/guest
	@tools/debian-sources >.state/guest/sources.list
	@echo "  an image of Debian from packages, in .state/guest/$(GUEST) (the first time about a minute) ..."
	@tools/guest-image .state/guest/sources.list .state/guest/$(GUEST) $(PACKAGES)

.PHONY: guest-iso
guest-iso: guest-image ## build the ISO with this image into dist/, for `rocks add image` on a site without a network (root)
	@export SOURCE_DATE_EPOCH=$(BUILD_TIME) && $(TOGETHER) tools/guest-iso .state/guest/debian/debian-*.img dist

test-guests: ## run the demos with machines of Debian as tests: cluster, launch, FAI, own cluster if its ISOs are in dist, and tools/paper-hardware (root; an hour, or more than two)
	@tools/setup test
	@$(MAKE) --no-print-directory guest-image
	@$(MAKE) --no-print-directory guest-image $(FOR_LAUNCHERS)
	@$(MAKE) --no-print-directory guest-image $(FOR_HARDWARE)
	@$(ISOLATED) $(PYTEST) -m guests tests/guests

demo-stop: ## end and remove everything that `make demo` and the other demos started (root)
	@if [ ! -d .state ]; then echo 'the demo does not run and has no files'; \
	elif [ -x /usr/bin/python3 ]; then $(ALONE) && $(LAB) demo-stop; fi

# What needs neither the lab's machines nor something built before.
HERE = not lab and not packages and not installer and not guests and not browser

test: ## set up, then run every check and the smoke tests of every part (root; it prints what it leaves out)
	@tools/setup test
	@$(MAKE) --no-print-directory lint
	@$(ISOLATED) env ROCKS_TEST_PROFILE=short $(PYTEST) $(PARALLEL) -m '$(HERE) and not slow'
	@echo "Not run: the tests marked slow and most generated input (\`make test-all\`), and those of lab, packages, installer, guests and browser (\`make help\`)"

.PHONY: test-all
test-all: ## `make test`, and the tests marked slow: all tests but lab, packages, installer, guests, browser (root; about 20 minutes on 2 processors)
	@tools/setup test
	@$(MAKE) --no-print-directory lint
	@$(ISOLATED) $(PYTEST) $(PARALLEL) -m '$(HERE)'

# What the release of Debian decides: its libvirt, QEMU, MariaDB, RabbitMQ, Slurm, nftables, Python.
OF_RELEASE = tests/contract $(addprefix tests/system/,database firewall graph lab vms) $(wildcard tests/system/nucleus/test_slurm*.py) tests/system/comet/test_condor.py

.PHONY: test-release
test-release: ## the tests of `make test` that meet programs of this release of Debian (root; minutes)
	@tools/setup test
	@$(ISOLATED) env ROCKS_TEST_PROFILE=short $(PYTEST) $(PARALLEL) -m '$(HERE) and not slow' $(OF_RELEASE)

test-nucleus-api: ## send generated requests to the whole REST interface of Nucleus (root; 3 minutes)
	@tools/setup test
	@$(ISOLATED) env NUCLEUS_API_EXAMPLES=$(EXAMPLES) $(PYTEST) tests/system/nucleus/api/test_schema.py

api-changes: ## list incompatible changes of the REST interface since FROM=COMMIT
	@git show '$(or $(FROM),HEAD):docs/reference/nucleus-openapi.json' | $(PYTHON) -m lab.openapi_changes /dev/stdin docs/reference/nucleus-openapi.json

test-oidc: ## test Nucleus with tokens from a real OpenID Connect provider, fetched from npm (root; 1 minute)
	@tools/setup test
	@tools/oidc-provider .state/oidc-provider
	@$(ISOLATED) env OIDC_PROVIDER="$(CURDIR)/.state/oidc-provider" $(PYTEST) tests/system/nucleus/api/test_oidc_provider.py

test-clients: ## run the Ansible example, and a client generated from the description of Nucleus, against Nucleus; programs from PyPI (root; 1 minute)
	@tools/setup test
	@[ -e .state/clients/complete ] || { rm -rf .state/clients && /usr/bin/python3 -m venv .state/clients && .state/clients/bin/pip install \
	  --quiet --no-input --disable-pip-version-check --progress-bar off --require-hashes -r examples/ansible/requirements.txt && \
	  .state/clients/bin/pip install --quiet --no-input --disable-pip-version-check --progress-bar off openapi-python-client==0.29.1 && \
	  touch .state/clients/complete; }
	@$(ISOLATED) env CLIENTS="$(CURDIR)/.state/clients" $(PYTEST) tests/system/nucleus/test_other_clients.py

test-browser: ## test the pages of Nucleus in Chromium, with axe-core (root; installs chromium; minutes)
	@tools/setup browser
	@tools/browser-libraries .state/browser
	@tools/browser-libraries .state/browser-tests tests
	@$(ISOLATED) $(PYTEST) -m browser tests/browser

.PHONY: pictures
pictures: export BROWSER_PICTURES = $(CURDIR)/docs/guide/pictures
pictures: test-browser ## make the pictures of the guide anew, by the tests of the pages in Chromium (root; minutes)

test-random: ## run the tests on generated input, with fresh seeds and ten times as many examples; fail image storage at every moment (root; hours)
	@tools/setup test
	@$(ISOLATED) env ROCKS_TEST_PROFILE=random $(PYTEST) $(PARALLEL) -m '(hypothesis or moments) and not lab'

# Models that are run through all their states: they take half as long as all other tests of rules, and `make test` has them.
MODELS = $(addprefix tests/unit/,storage/daemons leases/test_lease_interleavings.py)

check: WORKERS = 3
check: lint ## lint, and the tests of rules and documents, without a daemon (a minute; the first time longer)
	ROCKS_TEST_PROFILE=short $(PYTEST) $(PARALLEL) -m 'not system and not slow and not moments' $(MODELS:%=--ignore=%) tests/unit tests/golden

lint: $(PYTHON) ## format, style, types (of the pages' JavaScript, too), import contracts
	$(PYTHON) -m ruff format --check $(CHECKED)
	$(PYTHON) -m ruff check $(CHECKED)
	$(PYTHON) -m mypy -p rocks -p nucleus -p owners -p owners.reservations -p comet -p lab -p bench -p pragma
	$(PYTHON) -m mypy --implicit-reexport --cache-dir .mypy_cache/tests tests
	PYTHONPATH=src $(PYTHON) -c 'import owners; from importlinter.cli import lint_imports_command as lint; lint()' --config import-contracts.ini
	@tools/check-pages

# The machines of the lab: from Debian's mirrors and src, or from the ISOS that are given. A lab that runs goes on.
START_LAB = $(MACHINES) start $(if $(ISOS),'isos=$(ISOS)') $(HOSTS:%=hosts=%) $(NAS:%=nas=%)

lab: ## build (the first time) and start three machines with kernels of their own; ISOS="ISO ISO": from these; HOSTS=trixie NAS=trixie: of that release (docs/lab.md)
	@[ -x /usr/bin/python3 ] || tools/setup lab
	@$(START_LAB)

lab-demo: ## a site with a virtual cluster on the lab's machines (root)
	@tools/setup test
	@$(MACHINES) demo

lab-stop: ## end the lab; nothing is left running or mounted
	@[ ! -x /usr/bin/python3 ] || $(MACHINES) stop

test-lab: ## run the tests that need the lab's machines; record passes in docs/evidence/lab-passes.md (root)
	@tools/setup test
	@$(START_LAB)
	@$(MACHINES) run $(PYTEST) tests/lab --ignore=tests/lab/long

PASSES = PYTHONPATH=src:. $(PYTHON) -m tests.lab.passes

.PHONY: test-lab-ci test-lab-core lab-stale
test-lab-core: ## run the core of the lab's tests (root)
	@tools/setup test
	@$(START_LAB)
	@due=$$($(PASSES) core) && $(MACHINES) run $(PYTEST) $$due

test-lab-ci: ## run the core of the lab's tests, and each module without a recorded pass of its current files (root)
	@tools/setup test
	@$(START_LAB)
	@due=$$($(PASSES) due) && $(MACHINES) run $(PYTEST) $$due
	@$(PASSES) stale

lab-stale: ## list the lab's test modules without a recorded pass of their current files (docs/evidence/lab-passes.md)
	@$(PASSES) stale

test-lab-long: ## run the lab's tests that take minutes each (root)
	@tools/setup test
	@$(START_LAB)
	@$(MACHINES) run $(PYTEST) tests/lab/long

.PHONY: campaign
campaign: ## RUNS=3 faults of image storage in the lab, drawn from SEED=1; RUN=17 has that one alone (root; two minutes each)
	@tools/setup test
	@$(START_LAB)
	@CAMPAIGN_SEED=$(SEED) CAMPAIGN_RUNS=$(or $(RUN),$(RUNS)) $(MACHINES) run $(PYTEST) -s \
	  'tests/lab/long/test_campaign.py$(if $(RUN),::test_run[$(RUN)])'

bench: ## measure the figures of the design, or FIGURES="R1 R4", and print the table; INTO=PAGE (root)
	@tools/setup test
	@PYTHONPATH=src:. $(PYTHON) -m bench $(FIGURES) $(if $(INTO),"into=$(INTO)")

paper: ## print the numbers of the published documents beside those of `make bench`; INTO=docs/evidence/paper.md writes them
	@tools/setup test
	@PYTHONPATH=src:. $(PYTHON) -m bench.paper $(INTO)

mutants: ## mutation testing: the share of N=200 mutants that `make test` finds; SEED, TESTS=all for `make test-all`, INTO=PAGE (root; hours)
	@tools/setup test
	@$(if $(filter all,$(TESTS)),,ROCKS_TEST_PROFILE=short )PYTHONPATH=src:. $(PYTHON) -m bench.mutants $(or $(N),200) $(or $(SEED),1) \
	  '$(HERE)$(if $(filter all,$(TESTS)),, and not slow)' $(if $(INTO),"$(INTO)")

agent: ## build the host agent's archive into dist/
	$(PYTHON) -m lab.agent_archive dist

comet-wheel: ## build the wheel of cluster owners' client, comet, into dist/
	@export SOURCE_DATE_EPOCH=$(BUILD_TIME) && packaging/comet/build $(PYTHON) dist

packages: ## build deb packages, for Debian 12 and 13, and rpm packages of the last commit into dist/ (root)
	@tools/setup packages
	@$(TOGETHER) packaging/build 'VERSION=$(VERSION)' 'RELEASE=$(RELEASE)'

deb: ## build the deb packages only (root)
	@tools/setup packages
	@$(TOGETHER) packaging/build 'VERSION=$(VERSION)' 'RELEASE=$(RELEASE)' deb

rpm: ## build the rpm packages only (root)
	@tools/setup packages
	@$(TOGETHER) packaging/build 'VERSION=$(VERSION)' 'RELEASE=$(RELEASE)' rpm

test-packages: frontend-iso ## install them into fresh roots without a network, use and remove them (root; more than 30 minutes)
	@tools/setup test
	@$(PYTEST) tests/packages
	@lintian --fail-on error,warning dist/*.deb
	@rpmlint --config packaging/rpm/rpmlint.toml dist/*.rpm

# The time of what is built: that of the last commit, so that the same sources give the same bytes.
BUILD_TIME = $$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)

frontend-iso: packages ## build the ISO from which a blank machine, or one of this release of Debian, becomes a frontend without a network; SITE=FOLDER ROLLS="ISO ISO" (root)
	@tools/setup installer
	@$(MAKE) --no-print-directory reroll
	@[ -e dist/loaders.tar ] || exec $(MAKE) --no-print-directory installer
	@export SOURCE_DATE_EPOCH=$(BUILD_TIME) && $(TOGETHER) roll/frontend/build dist '$(SITE)' $(ROLLS)

.PHONY: medium
medium: os-roll guest-iso ## build the ISO of frontend-iso with the os roll and the image for guests on it: everything of a site's first day; SITE=FOLDER ROLLS="ISO ISO" (root)
	@$(MAKE) --no-print-directory frontend-iso ROLLS="$$(echo dist/os-*.iso dist/rocks-guest-*.iso $(ROLLS))"

test-os-roll: ## add the roll of `make os-roll`, build a distribution, and equip hosts from it (root; 5 minutes)
	@tools/setup test
	@$(ISOLATED) $(PYTEST) -m packages tests/system/rolls

installer: ## build the installer of hosts and their root archive into dist/; SOURCES=FILE of an ISO's repository (root)
	@tools/setup installer
	@export SOURCE_DATE_EPOCH=$(BUILD_TIME) && $(TOGETHER) roll/installer/build-root dist $(if $(SOURCES),"$(SOURCES)")
	@export SOURCE_DATE_EPOCH=$(BUILD_TIME) && $(TOGETHER) roll/installer/build-initramfs dist

test-installer: ## install blank emulated machines with what `make installer` built, and from the ISO of `make frontend-iso` if it is in dist (root; 30 minutes, or more than an hour)
	@tools/setup test
	@tools/setup installer
	@[ -e dist/installer.img ] || $(MAKE) --no-print-directory installer
	@$(ISOLATED) $(PYTEST) -m installer tests/installer

.PHONY: lab-first-day
lab-first-day: ## the operator's guide, typed from the power button of a blank frontend to SSH in a cluster, on emulated machines; FROM=frontend, hosts or cluster: again from there (root; hours)
	@tools/setup test
	@tools/setup installer
	@for part in os:os-roll rocks-guest:guest-iso; do \
	  [ -n "$$(find dist -maxdepth 1 -name "$${part%:*}-[0-9]*.iso" 2>/dev/null)" ] || $(MAKE) --no-print-directory "$${part#*:}" || exit 1; \
	done
	@[ -d .state/first-day/frontend ] && [ '$(FROM)' != frontend ] || $(MAKE) --no-print-directory frontend-iso ROLLS='dist/os-*.iso dist/rocks-guest-*.iso'
	@mkdir -p .state/first-day
	@$(ISOLATED) PYTHONPATH=src $(PYTHON) -m tests.installer.first_day $(FROM)

os-roll: ## build the ISO with what hosts are installed from: Debian's packages, ZFS, their installer; SOURCES=FILE KEY=KEY (root)
	@tools/setup packages
	@tools/setup roll
	@tools/setup installer
	@[ -e dist/installer.img ] || exec $(MAKE) --no-print-directory installer
	@[ -n "$$(find dist -maxdepth 1 -name 'rocks-agent_*.deb')" ] || exec $(MAKE) --no-print-directory packages
	@export SOURCE_DATE_EPOCH=$(BUILD_TIME) $(if $(KEY),KEY='$(KEY)') && $(TOGETHER) roll/os/build dist $(if $(SOURCES),"$(SOURCES)")

.PHONY: mpi-roll metrics-roll
mpi-roll: ## build the ISO of the roll mpi into dist/: MPI for computes, of Debian's packages; KEY=KEY signs it (root)
metrics-roll: ## build the ISO of the roll metrics into dist/: Prometheus and libvirt's exporter, for plots of machines; KEY=KEY signs it (root)
mpi-roll metrics-roll: $(PYTHON)
	@tools/setup packages
	@tools/setup roll
	@mkdir -p dist
	@$(if $(KEY),export KEY='$(KEY)' &&) $(TOGETHER) roll/build-of-packages $(@:-roll=) dist

.PHONY: pragma-roll
pragma-roll: $(PYTHON) ## build the ISO of the roll pragma into dist/; KEY=KEY signs it
	@tools/setup roll
	@mkdir -p dist
	@ROCKS_STATE=/nonexistent bin/rocks create roll roll/pragma/roll-pragma.xml dir=dist $(if $(KEY),'key=$(KEY)')

roll: packages ## build the packages, then the ISO of this roll, into dist/; KEY=KEY signs it (root)
	@$(MAKE) --no-print-directory reroll

reroll: ## build the ISO of this roll alone into dist/, with the packages that are there; KEY=KEY
	@tools/setup roll
	@$(MAKE) --no-print-directory -C roll roll

profile: ## build the packages with this roll's nodes and graphs, roll-NAME-kickstart, into dist/
	@tools/setup roll
	@$(MAKE) --no-print-directory -C roll profile

new-command: $(PYTHON) ## create the files of a command: WORDS="list host colour" (CONTRIBUTING.md)
	@PYTHONPATH=src $(PYTHON) -m lab.pages.new_command '$(subst ','\'',$(WORDS))'

reference: $(PYTHON) ## write docs/reference, and what completion knows, from the help of the commands and of the REST interface
	PYTHONPATH=src $(PYTHON) -m lab.pages.reference docs/reference
	PYTHONPATH=src $(PYTHON) -m nucleus.api.openapi docs/reference/nucleus-openapi.json

# For all Pythons of tools/release at once: pip-compile resolves for the running one.
RESOLVE = .state/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --strip-extras \
  --no-header --no-annotate
requirements: ## resolve requirements*.in anew into requirements*.txt, with hashes
	@[ -x .state/uv/bin/uv ] || { /usr/bin/python3 -m venv .state/uv && .state/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9; }
	$(RESOLVE) --output-file requirements.txt requirements.in
	$(RESOLVE) --output-file requirements-dev.txt requirements-dev.in

clean: demo-stop lab-stop ## remove everything that was built or downloaded here; Debian packages stay
	rm -rf .state dist
	find src lab tests bench roll -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
